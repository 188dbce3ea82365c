"""`precompute models`: the models of Ollama, for people who have never typed its commands."""
