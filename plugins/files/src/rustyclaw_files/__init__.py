"""The files of an agent's workspace, as four tools."""
