"""Which queries to cook."""
