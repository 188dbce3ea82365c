"""`python -m app`: the decks, the settings and the port are right, then serve."""

from __future__ import annotations

import errno
import functools
import gc
import os
import socket
import sys

from app.edge.serving import serve
from app.errors import OperatorError, SettingError
from app.kinds.cards.composing import Composer
from app.kinds.cards.deck import Deck
from app.kinds.decks import load_all
from app.ledger.votes import ballot_secret
from app.settings import Settings
from app.store.holder import bring_up
from app.web.service import Service, utc_now


def main() -> int:
    """Serve until a signal. Returns the exit status: 2 where the operator must mend something."""
    # What is imported by now stays: no collection need look through it again.
    gc.freeze()
    try:
        settings = Settings.read(os.environ)
        # Made once here and thrown away: a wrong deck is told in one line, not by every worker.
        # Before the service, which holds its indexes open: a file is opened once in a process.
        decks = load_all(settings.decks)
        for deck in decks.values():
            for note in bring_up(settings.store_options, deck):
                print(f"tsukurioki: {note}", file=sys.stderr)
        composers = {
            deck.id: Composer(deck)
            for deck in decks.values()
            if isinstance(deck, Deck) and deck.composable
        }
        # Proven once, for all workers.
        for composer in composers.values():
            _ = composer.proven
        secret = ballot_secret(settings.ledger)
        Service(settings, decks=decks, composers=composers, secret=secret)
        _check_port(settings.host, settings.port)
    except OperatorError as error:
        print(f"tsukurioki: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"tsukurioki: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"tsukurioki: http://{settings.host}:{settings.port}/", file=sys.stderr, flush=True)
    run = f"{utc_now()} {os.getpid()}"
    # What was made before the workers are forked is theirs too.
    make = functools.partial(
        Service, settings, decks=decks, composers=composers, run=run, secret=secret
    )
    serve(settings, make)
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


if __name__ == "__main__":
    sys.exit(main())
