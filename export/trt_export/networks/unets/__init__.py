"""UNets, and the graphs that are made of them."""
