"""From jobs to entries in the store."""
