"""An application that asks OpenAI, Ollama and Gemini by their own libraries, and prints the replies.

It knows nothing of Tsukurioki: the libraries find their servers by the usual variables.
"""

from __future__ import annotations

import sys

import ollama
from google import genai
from openai import OpenAI

QUESTION = "What shall we cook the night before?"
MODELS = {"openai": "gpt-5-mini", "ollama": "qwen2.5:0.5b", "gemini": "gemini-3.5-flash-lite"}


def replies() -> list[str]:
    """A whole and a streamed reply of each library."""
    said: list[str] = []
    client = OpenAI()
    model = MODELS["openai"]
    whole = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": QUESTION}]
    )
    said.append(f"openai: {whole.choices[0].message.content}")
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": QUESTION}], stream=True, seed=1
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    said.append(f"openai, streamed: {''.join(pieces)}")
    messages = [{"role": "user", "content": QUESTION}]
    told = ollama.chat(model=MODELS["ollama"], messages=messages)
    said.append(f"ollama: {told.message.content}")
    lines = ollama.generate(model=MODELS["ollama"], prompt=f"{QUESTION} Briefly.", stream=True)
    said.append(f"ollama, streamed: {''.join(line.response or '' for line in lines)}")
    # Its models can be asked for as long as the client is there.
    google = genai.Client()
    answer = google.models.generate_content(model=MODELS["gemini"], contents=QUESTION)
    said.append(f"gemini: {answer.text}")
    events = google.models.generate_content_stream(
        model=MODELS["gemini"], contents=f"{QUESTION} Briefly."
    )
    said.append(f"gemini, streamed: {''.join(event.text or '' for event in events)}")
    return said


if __name__ == "__main__":
    sys.stdout.write("\n".join(replies()) + "\n")
