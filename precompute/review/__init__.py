"""What is there, and whether it is in order."""
