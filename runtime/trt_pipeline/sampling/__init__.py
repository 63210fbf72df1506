"""Sampling: what takes noise to latents, step by step."""
