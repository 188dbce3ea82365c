"""Decks of cards: hands, plays, their gate, prompts, composed and framed answers."""
