"""The pure core: decks, keys, entries, the store, the gate, composing. No network, no clock."""
