"""The safety checker, and the graph of the same name."""
