"""Serves a front end that was built elsewhere at `/`.

WhiteNoise serves its files. Any other path without a dot gets its index.html, for a router in the
front end, except our own paths (`/api`, `/chat`, `/stats` …).
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

OURS = frozenset(
    ["api", "v1", "v1beta", "stats", "healthz", "metrics", "dashboard", "wall", "chat", "line"]
)
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Files(WhiteNoise):
    """The files of a folder, without hidden ones and links to files outside of it.

    Folders of front ends often contain `.env` and `.git`. The one hidden name that is meant for
    clients is `.well-known` at the top (RFC 8615).
    """

    def update_files_dictionary(self, root: str, prefix: str) -> None:
        """Add the files of a folder; called by WhiteNoise."""
        paths = list(_public(Path(root)))
        # Of all files, because WhiteNoise looks here for compressed copies.
        stats = {str(path): path.stat() for path in paths}
        for path in paths:
            url = prefix + path.relative_to(root).as_posix()
            self.add_file_to_dictionary(url, str(path), stat_cache=stats)  # type: ignore[no-untyped-call]


def _public(root: Path) -> Iterator[Path]:
    top = root.resolve()
    for here, folders, files in os.walk(root, followlinks=True):
        folder, real = Path(here), Path(here).resolve()
        # A link to a folder that contains it would never end.
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
    # Unlike `resolve`, realpath does not raise for broken links and loops.
    real = Path(os.path.realpath(path))
    return real.is_relative_to(top) and os.access(real, os.R_OK)


class Site:
    """WSGI middleware that serves the files of a site. `headers` are added to each response."""

    def __init__(self, folder: Path, headers: Iterable[tuple[str, str]], access: Access) -> None:
        self._folder = folder
        self._headers = list(headers)
        self._access = access

    def init_app(self, app: Flask) -> None:
        self._app: WSGI = app.wsgi_app
        self._files = _Files(
            self._app, root=str(self._folder), index_file=True, allow_all_origins=False
        )
        app.wsgi_app = self  # type: ignore[method-assign]  # how Flask wants middleware

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request for the site, or pass it on to the wrapped application."""
        # WSGI hands UTF-8 over as Latin-1.
        path = environ.get("PATH_INFO", "/").encode("latin-1").decode("utf-8", "replace")
        ours = path.lstrip("/").split("/", 1)[0] in OURS
        if (
            ours
            or environ["REQUEST_METHOD"] not in ("GET", "HEAD")
            or self._access.refusal_wsgi(environ)
        ):
            return self._app(environ, start_response)
        # Only files that were there at the start: no client's path reaches the disk.
        if path not in self._files.files:
            if "." in path.rsplit("/", 1)[-1]:
                return self._app(environ, start_response)
            environ = {**environ, "PATH_INFO": "/"}

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            # WhiteNoise's own hook for headers is not called for redirects, 304 and 405.
            return start_response(status, [*headers, *self._headers], *rest)

        files: WSGI = self._files
        try:
            return files(environ, start)
        except OSError:
            # The file was removed, or made unreadable, since the start.
            return self._app(environ, start_response)
