"""The HTTP surface: one module for each part, all on the same port."""
