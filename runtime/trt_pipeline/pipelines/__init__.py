"""The pipeline: what a call takes, its four parts, and what it gives."""
