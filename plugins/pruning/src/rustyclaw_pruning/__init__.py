"""Shortens old tool results in what a model is sent, never in the transcript."""
