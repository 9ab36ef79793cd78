"""Models of Anthropic: Claude, by the Messages API.

Read the modules in this order: `provider` (one request and its answer), `catalogue`
(what a model can, and how it is made to think), `messages` (how a conversation is
written), `caching` (what the vendor shall remember of it), `stream` (how an answer is
read).
"""
