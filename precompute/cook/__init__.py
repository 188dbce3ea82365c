"""Cooking: from the jobs of a plan to entries in the store."""
