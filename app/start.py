"""Starting the server: check decks, settings and port, then serve."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence

from app.edge.serving import RsgiApplication, serve
from app.edge.wsgi import share_heap
from app.errors import OperatorError, SettingError
from app.kinds.decks import load_all, prepare_all
from app.settings import Settings, bundled_notes, unknown_settings
from app.web.service import Service, utc_now


def main(arguments: Sequence[str] = ()) -> int:
    """Serve until a signal. Returns the exit status: 2 if the operator must correct something."""
    if arguments:
        hint = "settings are variables: TSUKURIOKI_PORT=8001 python -m app; see docs/settings.md"
        print(f"tsukurioki: python -m app takes no arguments; {hint}", file=sys.stderr)
        return 2
    share_heap()
    try:
        if note := unknown_settings(os.environ):
            print(f"tsukurioki: {note}", file=sys.stderr)
        settings = Settings.read(os.environ)
        for note in bundled_notes(os.environ):
            print(f"tsukurioki: {note}", file=sys.stderr)
        decks = load_all(settings.decks)
        # Before the fork, so that workers share its memory and a fault is reported once.
        service = Service(settings, servers=prepare_all(decks), run=f"{utc_now()} {os.getpid()}")
        for served in service.decks.values():
            for note in served.index.bring_up(served.deck):
                print(f"tsukurioki: {note}", file=sys.stderr)
        application = RsgiApplication(settings, service)
        _check_port(settings.host, settings.port)
    except OperatorError as error:
        print(f"tsukurioki: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"tsukurioki: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"tsukurioki: http://{host}:{settings.port}/", file=sys.stderr, flush=True)
    serve(settings, application)
    return 0


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            name, value = "TSUKURIOKI_PORT", str(port)
            if error.errno != errno.EADDRINUSE:
                name, value = "TSUKURIOKI_HOST", f"{host}:{port}"
            raise SettingError(
                name, value, f"an address that is free to listen on ({error.strerror})"
            ) from None
