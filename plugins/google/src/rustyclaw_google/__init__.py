"""Models of Google: Gemini, by its own API.

Read the modules in this order: `provider` (one request and its answer), `catalogue`
(what a model can, and how it is made to think), `contents` (how a conversation is
written), `parameters` (how tools are described), `signatures` (how thoughts are kept),
`stream` (how an answer is read).
"""
