"""What all providers that speak HTTP share: one behaviour on the wire.

Read the modules in this order: `config` (settings), `provider` and `vendor` (the base
classes), `client` and `exchange` (requests and their answers), `lines` (the connections
below), `classify` (what a failure means), `errors` (from an answer to a
`ProviderError`), `media`, `schemas` and `levels` (what requests are made of),
`catalogue` and `reading` (fields of answers). `testing` is a scripted vendor, and what
the tests of all providers check.
"""
