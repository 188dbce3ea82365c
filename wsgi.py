"""The WSGI application, for any WSGI server and for `flask --app wsgi run`."""

from __future__ import annotations

import os
import sys

from app.errors import OperatorError
from app.settings import Settings, unknown_settings
from app.web.app import create_app

if note := unknown_settings(os.environ):
    sys.stderr.write(f"tsukurioki: {note}\n")
try:
    application = create_app(Settings.read(os.environ))
except OperatorError as error:
    sys.exit(f"tsukurioki: {error}")
