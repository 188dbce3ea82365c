"""What models wrote at the event, taken into the store."""
