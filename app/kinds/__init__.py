"""Kinds of deck: how each parses requests and answers them, and what its answers must satisfy."""
