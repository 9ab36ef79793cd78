"""The methods of the gateway: one module a group, apart from any socket.

They stand in the registry of the core as well, so that code of this process calls
the same ones: ``await gateway.call("sessions.list", {"limit": 5})``.
"""
