"""Prompts: requests as clients of OpenAI, Ollama and Gemini send them, and their recorded replies."""
