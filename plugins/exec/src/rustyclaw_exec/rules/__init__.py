"""What is dangerous, by category: each module knows some programs."""
