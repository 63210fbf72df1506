"""PyTorch modules to ONNX graphs, in every arithmetic, and their comparison with PyTorch."""
