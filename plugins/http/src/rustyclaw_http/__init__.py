"""What all providers that speak HTTP share: one behaviour on the wire.

Read the modules in this order: `config` (settings), `provider` (the base class),
`client` and `exchange` (requests and their answers), `direct` and `wire` (the
connections below), `classify` (what a failure means), `errors` (from an answer to a
`ProviderError`), `media`, `schemas` and `levels` (what requests are made of),
`reading` (fields of answers). `testing` is a scripted vendor for tests of providers.
"""
