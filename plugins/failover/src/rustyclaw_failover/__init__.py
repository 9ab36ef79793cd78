"""A provider that is made of others: chains of models, and several keys for each.

Read the modules in this order: `config` (settings), `health` (how a key is, and for
how long it rests), `ledger` (where that is kept), `thinking` (the next lower level),
`walk` (what one model call tries, and in which order), `provider` (the stream),
`commands` (``rustyclaw models auth``).
"""
