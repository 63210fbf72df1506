"""First stages, and the graphs decoder, encoder and tiny_decoder."""
