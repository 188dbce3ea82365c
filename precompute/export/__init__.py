"""Data sets for fine-tuning, made of what was cooked, read, voted on and refused."""
