"""Tokenizers: what their files say, and the proof that the bundle makes the same ids."""
