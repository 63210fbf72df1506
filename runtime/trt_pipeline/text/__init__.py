"""Text: prompts as users give them, and the token ids that a model reads."""
