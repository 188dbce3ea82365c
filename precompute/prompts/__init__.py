"""Prompts of other programs: reading them, explaining hits and misses, recording and replaying."""
