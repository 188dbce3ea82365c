"""Commands of the command line, by room."""
