"""Conversations: list, look into, change, reset, delete."""
