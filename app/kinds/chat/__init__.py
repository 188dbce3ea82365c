"""Decks of characters: reading a message, lines, the gate for a reply, conversations."""
