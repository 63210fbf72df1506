"""Pipelines: one class for each kind of model, and what its call takes and gives."""
