"""What the event remembers: misses, votes, counters and the state that workers share."""
