"""`precompute preview`: a deck's pages while it is being edited.

Two servers run on this machine. The inner one is the server of the event, as it is, with a copy of
the deck; it knows nothing of previews. The outer one, in this process, sends requests on to it and
adds a script to its pages, which loads them again when the deck was saved and shows what `check` says.

At each change the deck is copied and loaded; if it can be loaded, an inner server is started with the
copy and takes the place of the one before. Otherwise the one before goes on: a deck may be broken for
a while. The folder is looked at four times a second. That costs a few calls for the twenty files of a
deck, and works in every file system; a library that the system notifies of changes (watchfiles) would be one more
thing to install.
"""

from __future__ import annotations

import http.client
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import orjson

from app.errors import DeckError, PlanError
from app.kinds.decks import KINDS, load_folder
from app.kinds.kind import AnyDeck
from app.settings import Settings
from app.store.log import log_path
from precompute.decks.new import CHAT, PROMPTS
from precompute.decks.replaced import is_kept, not_of_the_deck
from precompute.prompts.sessions import server
from precompute.review.check import Finding, check_folder
from precompute.review.kinds import review_of

OVERLAY = Path(__file__).parent / "overlay"
# Where the outer server answers itself.
OURS = "/_preview/"
# Seconds between two looks at the folder, and in which a question for news is answered at the latest.
LOOK = 0.25
_NEWS = 20.0
_HERE = ("127.0.0.1", "localhost")
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_SCRIPT = f'<script src="{OURS}overlay.js" defer></script>'.encode()
# Headers about one connection, which are not sent on, and those that the outer server sets itself.
_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length"}
)

Signature = tuple[tuple[str, int, int], ...]


@dataclass
class PreviewState:
    """The data for the pages: the version of the deck that is served, and the faults of the newest.

    `upstream` is the inner server's address; None until a version could be loaded.
    """

    upstream: str | None = None
    version: int = 0
    serial: int = 0
    faults: tuple[Finding, ...] = ()
    loaded: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def set(
        self, faults: tuple[Finding, ...], *, loaded: bool, upstream: str | None = None
    ) -> None:
        """Take news in, and wake those that wait for them. A new upstream is a new version."""
        with self.changed:
            self.faults, self.loaded = faults, loaded
            self.serial += 1
            if upstream:
                self.upstream = upstream
                self.version += 1
            self.changed.notify_all()

    def news(self, after: int) -> bytes:
        """The state as JSON, when it is newer than `after`, or after some seconds."""
        with self.changed:
            self.changed.wait_for(lambda: self.serial != after, _NEWS)
            errors = sum(finding.error for finding in self.faults)
            summary = f"{errors} errors, {len(self.faults) - errors} warnings"
            if not self.loaded:
                last = "the last version that worked is shown" if self.upstream else "nothing yet"
                summary = f"The deck cannot be loaded; {last}"
            return orjson.dumps(
                {
                    "serial": self.serial,
                    "version": self.version,
                    "told": summary,
                    "faults": [{"error": f.error, "text": str(f)} for f in self.faults],
                }
            )


class Preview:
    """A preview of one deck. A context manager that ends the inner server.

    `folder` is the deck's, `scratch` an empty one for copies, `environ` the environment of the inner
    server, `note` gets a line about each version.
    """

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        settings: Settings,
        environ: Mapping[str, str],
        note: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.state = PreviewState()
        self._scratch = scratch
        self._store = settings.store
        self._environ = environ
        self._note = note
        self._seen: Signature | None = None
        self._inner = ExitStack()
        self._deck: AnyDeck | None = None

    def __enter__(self) -> Preview:
        return self

    def __exit__(self, *exception: object) -> None:
        self._inner.close()

    def look(self) -> bool:
        """Take the deck in if it has changed since the last look; returns whether it had."""
        found = tuple(_signature(self.folder))
        if found == self._seen:
            return False
        self._seen = found
        self._take()
        return True

    def _take(self) -> None:
        decks = self._scratch / f"version-{self.state.serial}"
        copy = decks / self.folder.name
        try:
            shutil.copytree(self.folder, copy, ignore=not_of_the_deck)
            deck = load_folder(copy)
            self._serve(deck, decks)
        except DeckError as error:
            finding = Finding(error.file.replace(str(copy), str(self.folder)), _placed(error))
            self.state.set((finding,), loaded=False)
            self._note(str(finding))
        except (PlanError, OSError, shutil.Error) as error:
            self.state.set((Finding(str(self.folder), str(error)),), loaded=False)
            self._note(str(error))
        else:
            self._check(deck, str(copy))

    def _serve(self, deck: AnyDeck, decks: Path) -> None:
        """Start an inner server with the copy, in the place of the one before."""
        store = self._scratch / "store"
        if not store.exists():
            store.mkdir()
            if (log := log_path(self._store, deck.id)).exists():
                shutil.copyfile(log, log_path(store, deck.id))
        environ = {
            **self._environ,
            "TSUKURIOKI_DATA": str(self._scratch),
            "TSUKURIOKI_DECKS": str(decks),
            "TSUKURIOKI_STORE": str(store),
            "TSUKURIOKI_LEDGER": str(self._scratch / "ledger"),
            "TSUKURIOKI_DECK": deck.id,
            "TSUKURIOKI_CHAT_DECK": deck.id if _room(deck) == CHAT else "",
        }
        started = ExitStack()
        url = started.enter_context(server("replay", environ, self._scratch / "server.log"))
        before, self._inner, self._deck = self._inner, started, deck
        self.state.set((), loaded=True, upstream=url)
        before.close()

    def _check(self, deck: AnyDeck, copy: str) -> None:
        found = (*review_of(deck).check(deck), *check_folder(deck))
        faults = tuple(replace(f, where=f.where.replace(copy, str(self.folder))) for f in found)
        self.state.set(faults, loaded=True)
        errors = sum(fault.error for fault in faults)
        self._note(
            f"version {self.state.version}: {errors} errors, {len(faults) - errors} warnings"
        )

    @property
    def places(self) -> tuple[str, ...]:
        """The paths of the pages of the deck that is served; the first is the one to open."""
        if self._deck is None or _room(self._deck) == PROMPTS:
            return (OURS,)
        if _room(self._deck) == CHAT:
            return (f"/chat?deck={self._deck.id}",)
        return "/", "/?kiosk"

    def page(self) -> bytes:
        """The outer server's own page."""
        links = "\n".join(f'<li><a href="{place}">{place}</a></li>' for place in self.places)
        text = (OVERLAY / "page.html").read_text(encoding="utf-8")
        return (
            text.replace("<<deck>>", escape(self.folder.name)).replace("<<links>>", links).encode()
        )


def _room(deck: AnyDeck) -> str:
    return KINDS[deck.kind].room


def _signature(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Name, time and size of each file of a deck."""
    for path in sorted(folder.rglob("*")):
        if not path.name.startswith(".") and not is_kept(path):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            yield str(path), stat.st_mtime_ns, stat.st_size


def _placed(error: DeckError) -> str:
    return f"{error.place}: {error.fault}" if error.place else error.fault


def outer_server(preview: Preview, port: int) -> ThreadingHTTPServer:
    """The outer server, bound to a port of this machine. Raises PlanError if it is taken."""

    class Handler(_Handler):
        of = preview

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise PlanError(f"port {port}: {error.strerror}; name another with --port") from None


class _Handler(BaseHTTPRequestHandler):
    """Answers under `/_preview/`, and sends everything else on."""

    of: ClassVar[Preview]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        """Say nothing: the terminal is for the deck's faults."""

    def handle_one_request(self) -> None:
        """As it is, but for clients that have gone."""
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _any(self) -> None:
        path = urlsplit(self.path)
        if (self.headers.get("Host") or "").partition(":")[0] not in _HERE:
            self._send(421, "text/plain", b"a preview is for this machine")
        elif path.path.startswith(OURS):
            self._ours(path.path.removeprefix(OURS), parse_qs(path.query))
        elif self.of.state.upstream is None:
            self._send(200, "text/html; charset=utf-8", _with_script(self.of.page()))
        else:
            self._sent_on(self.of.state.upstream)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = _any  # noqa: N815

    def _ours(self, name: str, query: Mapping[str, list[str]]) -> None:
        if name == "state":
            after = query.get("after", [""])[0]
            number = int(after) if after.isdecimal() else -1
            self._send(200, "application/json", self.of.state.news(number))
        elif not name:
            self._send(200, "text/html; charset=utf-8", _with_script(self.of.page()))
        elif (path := OVERLAY / Path(name).name).suffix in _TYPES and path.exists():
            self._send(200, f"{_TYPES[path.suffix]}; charset=utf-8", path.read_bytes())
        else:
            self._send(404, "text/plain", b"there is nothing here")

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _sent_on(self, upstream: str) -> None:
        inner = http.client.HTTPConnection(urlsplit(upstream).netloc)
        length = self.headers.get("Content-Length") or "0"
        body = self.rfile.read(int(length)) if length.isdecimal() else b""
        kept = {n: v for n, v in self.headers.items() if n.lower() not in _HOP}
        # Pages are changed on their way, so they must not be compressed.
        headers = {**kept, "Accept-Encoding": "identity"}
        try:
            inner.request(self.command, self.path, body or None, headers)
            self._relay(inner.getresponse())
        except (ConnectionError, http.client.HTTPException):
            # It was replaced meanwhile; the page is loaded again at once.
            self._send(502, "text/plain", b"the deck is being loaded again")
        finally:
            inner.close()

    def _relay(self, response: http.client.HTTPResponse) -> None:
        page = response.headers.get_content_type() == "text/html"
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP | ({"cache-control", "etag"} if page else set()):
                self.send_header(name, value)
        if page:
            self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if page:
            self.wfile.write(_with_script(response.read()))
        # What is streamed is passed on as it comes.
        while not page and (piece := response.read1()):
            self.wfile.write(piece)
            self.wfile.flush()
        self.close_connection = True


def _with_script(page: bytes) -> bytes:
    """A page with the overlay's script: before its body, or at its end if it has none."""
    head, body, rest = page.partition(b"<body")
    return head + _SCRIPT + body + rest
