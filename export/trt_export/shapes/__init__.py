"""The embedded checkpoint: the drawn scenes it is trained on, its models and its trainer."""
