"""The tool ``exec``: shell commands, judged before they run."""
