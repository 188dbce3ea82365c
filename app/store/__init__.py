"""The format on disk: keys, entries, the log, the index and its copy in Redis."""
