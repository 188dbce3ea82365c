"""A front end that was built elsewhere, served at `/` from this process without a change to it.

Its files are WhiteNoise's; a path without a dot that is neither a file nor ours is its own router's,
and gets its index.html. `/api`, `/stats` and the rest stay ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whitenoise import WhiteNoise

if TYPE_CHECKING:
    from flask import Flask

SITE_RESERVED = ("/api/", "/stats", "/healthz", "/metrics", "/dashboard", "/wall")
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Site:
    """WSGI middleware: the site's files, or the wrapped application."""

    def __init__(self, folder: Path, headers: Iterable[tuple[str, str]]) -> None:
        self._folder = folder
        self._headers = tuple(headers)

    def init_app(self, app: Flask) -> None:
        """Wrap an application."""
        self._app: WSGI = app.wsgi_app
        self._files: WSGI = WhiteNoise(
            self._app, root=str(self._folder), index_file=True, add_headers_function=self._add
        )
        app.wsgi_app = self  # type: ignore[method-assign]  # how Flask wants middleware

    def _add(self, headers: Any, path: str, url: str) -> None:
        for name, value in self._headers:
            headers[name] = value

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer from the site where the path is the site's."""
        path: str = environ.get("PATH_INFO", "/")
        if path.startswith(SITE_RESERVED):
            return self._app(environ, start_response)
        routed = environ["REQUEST_METHOD"] in ("GET", "HEAD") and "." not in path.rsplit("/", 1)[-1]
        if routed and not (self._folder / path.strip("/") / "index.html").is_file():
            environ = {**environ, "PATH_INFO": "/"}
        return self._files(environ, start_response)
