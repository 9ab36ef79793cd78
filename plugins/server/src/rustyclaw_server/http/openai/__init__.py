"""OpenAI's two interfaces, in front of agents: chat completions and responses."""
