"""Two tools: one reads a web page, one searches the web."""
