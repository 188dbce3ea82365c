"""Figures and checks of decks and stores."""
