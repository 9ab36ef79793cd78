"""Who calls: address, origin, shared secret, device."""
