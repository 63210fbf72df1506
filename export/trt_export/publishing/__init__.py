"""Bundles on disk: whole or absent, hashed, signed."""
