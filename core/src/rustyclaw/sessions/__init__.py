"""Sessions: who talks in which conversation, and what was said, on disk."""
