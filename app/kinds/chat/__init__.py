"""Decks of patterns: recognising intents in messages, characters' lines, their gate, chats."""
