"""The parts of a model as PyTorch modules, taken apart for tracing."""
