"""What ``rustyclaw gateway`` can do besides serving."""
