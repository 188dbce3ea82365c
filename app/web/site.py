"""A front end that was built elsewhere, served at `/` from this process without a change to it.

Its files are WhiteNoise's; a path without a dot that is neither a file nor ours is its own router's,
and gets its index.html. `/api`, `/chat`, `/stats` and the rest stay ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whitenoise import WhiteNoise

from app.web.access import Access

if TYPE_CHECKING:
    from flask import Flask

OURS = frozenset({"api", "stats", "healthz", "metrics", "dashboard", "wall", "chat"})
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Files(WhiteNoise):
    """The files of a folder, but for hidden ones and those that a link takes from outside of it.

    `.env` and `.git` lie in many a folder that was meant to hold a front end alone. `.well-known`
    at its top is the one such name that is meant for clients (RFC 8615).
    """

    def update_files_dictionary(self, root: str, prefix: str) -> None:
        """Take a folder up."""
        paths = list(_public(Path(root)))
        # All of them at once: WhiteNoise looks here for the compressed copy of a file.
        stats = {str(path): path.stat() for path in paths}
        for path in paths:
            url = prefix + path.relative_to(root).as_posix()
            self.add_file_to_dictionary(url, str(path), stat_cache=stats)  # type: ignore[no-untyped-call]


def _public(root: Path) -> Iterator[Path]:
    top = root.resolve()
    for here, folders, files in os.walk(root, followlinks=True):
        folder, real = Path(here), Path(here).resolve()
        # A link to a folder that it lies in has no end.
        folders[:] = [
            name
            for name in folders
            if (not name.startswith(".") or (folder == root and name == ".well-known"))
            and _inside(folder / name, top)
            and not real.is_relative_to((folder / name).resolve())
        ]
        for name in files:
            path = folder / name
            if not name.startswith(".") and _inside(path, top) and path.is_file():
                yield path


def _inside(path: Path, top: Path) -> bool:
    # A link may lead nowhere, or to itself.
    real = Path(os.path.realpath(path))
    return real.is_relative_to(top) and os.access(real, os.R_OK)


class Site:
    """WSGI middleware: the site's files, or the wrapped application."""

    def __init__(self, folder: Path, headers: Iterable[tuple[str, str]], access: Access) -> None:
        self._folder = folder
        self._headers = list(headers)
        self._access = access

    def init_app(self, app: Flask) -> None:
        """Wrap an application."""
        self._app: WSGI = app.wsgi_app
        self._files = _Files(
            self._app, root=str(self._folder), index_file=True, allow_all_origins=False
        )
        app.wsgi_app = self  # type: ignore[method-assign]  # how Flask wants middleware

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer from the site where the path is the site's."""
        # WSGI hands UTF-8 over as Latin-1.
        path = environ.get("PATH_INFO", "/").encode("latin-1").decode("utf-8", "replace")
        ours = path.lstrip("/").split("/", 1)[0] in OURS
        if (
            ours
            or environ["REQUEST_METHOD"] not in ("GET", "HEAD")
            or self._access.refusal_wsgi(environ)
        ):
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
        try:
            return files(environ, start)
        except OSError:
            # It was there at the start, and is gone or shut since.
            return self._app(environ, start_response)
