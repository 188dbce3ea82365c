"""Records of an event: misses, votes, counters and the state that workers share."""
