"""Configurations: which keys and numbers they may have, and what diffusers corrects of them."""
