"""Weights: from files, with LoRAs, in the precision of the bundle."""
