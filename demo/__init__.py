"""The event played through, with the network taken away."""
