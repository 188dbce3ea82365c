"""Decks of characters: recognising intents in messages, characters' lines, their gate, chats."""
