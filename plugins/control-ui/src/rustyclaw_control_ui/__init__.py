"""The gateway's web page, as a plugin that adds routes."""
