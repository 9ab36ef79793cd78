"""Telegram as a channel, on the Bot API.

Read the modules in this order: `config` (settings), `api` (calls and their failures),
`updates` (what Telegram delivers, as values), `receiving` (polling and webhook),
`formatting` (Markdown as Telegram shows it), `sending` (drafts and answers), `store`
(what a restart must not lose), `channel` (all of it as a channel).
"""
