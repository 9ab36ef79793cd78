"""What an agent remembers between conversations, as four tools."""
