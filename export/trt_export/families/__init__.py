"""Families of models, a file each: parts, conditioning, defaults."""
