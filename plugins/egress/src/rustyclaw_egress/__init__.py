"""Fetches from addresses that strangers may have chosen: judged, pinned, bounded."""
