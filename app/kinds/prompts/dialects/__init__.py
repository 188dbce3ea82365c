"""Dialects: what clients of OpenAI, Ollama and Gemini send and read, to and from neutral values.

A codec knows neither HTTP nor the network: the routes (`app.web`) use it to serve, recording and
the importers to read what a service answered.
"""
