"""The mind: one turn of provider and tools, with the hooks in between."""
