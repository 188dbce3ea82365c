"""Decks made by people: a new folder from templates, and spreadsheets both ways."""
