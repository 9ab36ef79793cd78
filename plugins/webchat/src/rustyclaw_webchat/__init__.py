"""A chat for web pages, as a channel."""
