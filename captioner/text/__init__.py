"""Words, and nothing about pictures."""
