"""The WebSocket protocol: frames, handshake, connections, events."""
