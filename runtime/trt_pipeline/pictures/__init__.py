"""Pictures: read, resized, put together, and written with their settings."""
