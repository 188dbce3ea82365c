"""What a user would run instead. Each runs in an environment of its own, made by the bench."""
