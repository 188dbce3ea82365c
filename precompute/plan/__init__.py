"""Plans: which queries to cook, in which order."""
