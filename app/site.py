"""A front end that was built elsewhere, served at `/` from this process without a change to it.

Its files are WhiteNoise's; a path without a dot that is neither a file nor ours is its own router's,
and gets its index.html. `/api`, `/chat`, `/stats` and the rest stay ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whitenoise import WhiteNoise

if TYPE_CHECKING:
    from flask import Flask

OURS = frozenset({"api", "stats", "healthz", "metrics", "dashboard", "wall", "chat"})
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Site:
    """WSGI middleware: the site's files, or the wrapped application."""

    def __init__(self, folder: Path, headers: Iterable[tuple[str, str]]) -> None:
        self._folder = folder
        self._headers = list(headers)

    def init_app(self, app: Flask) -> None:
        """Wrap an application."""
        self._app: WSGI = app.wsgi_app
        self._files = WhiteNoise(self._app, root=str(self._folder), index_file=True)
        app.wsgi_app = self  # type: ignore[method-assign]  # how Flask wants middleware

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer from the site where the path is the site's."""
        # WSGI hands UTF-8 over as Latin-1.
        path = environ.get("PATH_INFO", "/").encode("latin-1").decode("utf-8", "replace")
        ours = path.lstrip("/").split("/", 1)[0] in OURS
        if ours or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self._app(environ, start_response)
        # The files that were there at the start, not the disk: no path of a client's reaches it.
        if path not in self._files.files:
            if "." in path.rsplit("/", 1)[-1]:
                return self._app(environ, start_response)
            environ = {**environ, "PATH_INFO": "/"}

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            # Here and not by WhiteNoise's hook, which leaves out redirects, 304 and 405.
            return start_response(status, [*headers, *self._headers], *rest)

        files: WSGI = self._files
        return files(environ, start)
