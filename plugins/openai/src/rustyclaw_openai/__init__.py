"""Models of OpenAI, and of all who speak its language.

Read the modules in this order: `presets` (one small class a vendor), `provider` (what
they share), then for each of the two APIs how a request is written (`chat_request`,
`responses_request`) and how a stream is read (`chat_stream`, `responses_stream`).
`catalogue` knows models.
"""
