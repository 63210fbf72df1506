"""Noise schedules and the schedulers that they come from."""
