"""Checkpoints of one file: weights of all networks, as CompVis and Stability release them."""
