"""Playing the game offline through the same ladder."""
