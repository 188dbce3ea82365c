"""Gemini's Batch API: half the price, within a day, by JSON Lines with keys.

Requests are uploaded as one file and answers downloaded as one. (Inline answers would come back in
any order and without a key.)
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from app.providers import Completion, Prompt
from app.providers.gemini import Gemini, whole_config
from app.providers.replies import read_batch_line

RUNNING, DONE, FAILED = "running", "done", "failed"
_DONE = ("SUCCEEDED", "PARTIALLY_SUCCEEDED")
_FAILED = ("FAILED", "CANCELLED", "EXPIRED")


class GeminiBatch:
    """Batch jobs of one model. Every method raises ProviderError."""

    def __init__(self, model: Gemini) -> None:
        self._gemini = model
        self.model = model.model

    def line(self, key: str, prompt: Prompt) -> bytes:
        """One request as a line of the job's file."""
        config = _camel_names(whole_config(self.model, prompt))
        if "thinkingConfig" in config:
            config["thinkingConfig"] = _camel_names(config["thinkingConfig"])
        request = {
            "contents": [{"role": "user", "parts": [{"text": prompt.asked}]}],
            "systemInstruction": {"parts": [{"text": prompt.fixed}]},
            "generationConfig": config,
        }
        return orjson.dumps({"key": key, "request": request}, option=orjson.OPT_APPEND_NEWLINE)

    def submit(self, lines: bytes, display_name: str) -> str:
        """Start a job; returns its name."""
        client = self._gemini.client
        with self._gemini.faults():
            file = client.files.upload(
                file=io.BytesIO(lines),
                config={"mime_type": "application/jsonl", "display_name": display_name},
            )
            job = client.batches.create(
                model=self.model, src=str(file.name), config={"display_name": display_name}
            )
        return str(job.name)

    def find(self, display_name: str) -> str | None:
        """The name of the job with this display name; None if there is none."""
        with self._gemini.faults():
            for job in self._gemini.client.batches.list():
                if job.display_name == display_name:
                    return str(job.name)
        return None

    def state(self, name: str) -> tuple[str, str]:
        """RUNNING, DONE or FAILED, and the service's own word for it."""
        with self._gemini.faults():
            job = self._gemini.client.batches.get(name=name)
        word = getattr(job.state, "name", str(job.state)).removeprefix("JOB_STATE_")
        described = f"{word}: {job.error.message}" if job.error else word
        if word in _DONE:
            return DONE, described
        return (FAILED if word in _FAILED else RUNNING), described

    def results(self, name: str) -> Iterator[tuple[str, Completion | str]]:
        """Each request's key with its completion, or a text that says what went wrong."""
        with self._gemini.faults():
            job = self._gemini.client.batches.get(name=name)
            file = job.dest.file_name if job.dest else None
            raw = self._gemini.client.files.download(file=str(file)) if file else b""
        for line in raw.splitlines():
            read = read_batch_line(line, self.model, self._gemini.service)
            if read is not None:
                yield read

    def cancel(self, name: str) -> None:
        with self._gemini.faults():
            self._gemini.client.batches.cancel(name=name)


def _camel_names(members: Mapping[str, Any]) -> dict[str, Any]:
    return {_camel(name): value for name, value in members.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
