"""Decks of cards: hands, plays, the gate for whole texts, composing and templates."""
