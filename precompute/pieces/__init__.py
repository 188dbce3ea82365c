"""Cooking the pieces of which answers are composed."""
