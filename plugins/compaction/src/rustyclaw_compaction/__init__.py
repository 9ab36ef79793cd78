"""Summaries that lose nothing that counts, and a tool that reads the rest back."""
