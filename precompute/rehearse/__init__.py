"""Rehearsing: playing the game offline through the server's ladder."""
