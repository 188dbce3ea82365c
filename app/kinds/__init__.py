"""Kinds of deck: what each may be asked, how it answers, what its answers must pass."""
