"""Writes who did what, through all seventeen hooks, without changing anything."""
