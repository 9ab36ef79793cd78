"""The gateway's one port: OpenClaw's protocol 3 and 4, and the HTTP surface."""
