"""Text encoders, and the graph text_encoder."""
