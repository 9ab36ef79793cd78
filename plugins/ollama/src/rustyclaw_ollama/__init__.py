"""Models of your own machine, by Ollama's own API.

Read the modules in this order: `provider` (one request and its answer), `shelf` (what
is installed, and what it can), `messages` (how a conversation is written), `stream`
(how an answer is read).
"""
