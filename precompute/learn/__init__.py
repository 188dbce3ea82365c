"""Storing what models wrote at the event."""
