"""Files in: checkpoints of every layout, read without running code from them."""
