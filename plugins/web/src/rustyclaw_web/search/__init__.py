"""Who can be asked to search; one module each."""
