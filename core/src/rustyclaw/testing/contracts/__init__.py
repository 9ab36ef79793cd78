"""What every plugin of a kind must keep, as test classes to inherit from."""
