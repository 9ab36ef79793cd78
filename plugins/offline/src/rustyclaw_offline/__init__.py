"""The offline provider: a rule-based assistant without a model or a network.

Read the modules in this order: `provider` (streams), `assistant` (decides what comes
next), `intents` (the table of what it understands), `script` (plays YAML files).
"""
