"""The contestants: each started on the server's core, each told from the outside only."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from bench.load import cores
from bench.material import DECKS, Menu

ROOT = Path(__file__).parents[1]
# Seconds until a server answers. Ours may have to build an index first.
PATIENCE = 300.0
# What is installed for rivals, in an environment of their own. GPTCache would install a client of
# OpenAI's by itself when it is imported.
RIVAL_PACKAGES = {
    "flask_dict": ("flask", "gunicorn"),
    "gptcache": ("gptcache", "fastapi", "uvicorn", "openai<1"),
    "fakellm": ("fakellm",),
    "litellm": ("litellm[proxy]",),
}
_NGINX = """
worker_processes 1; daemon off; pid %(folder)s/pid; error_log %(folder)s/error.log;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=4096;
  default_type application/json;
  client_body_temp_path %(folder)s; proxy_temp_path %(folder)s; fastcgi_temp_path %(folder)s;
  uwsgi_temp_path %(folder)s; scgi_temp_path %(folder)s;
  server {
    listen 127.0.0.1:%(port)d; root %(folder)s/root;
    add_header Cache-Control no-cache;
    add_header X-Content-Type-Options nosniff;
    add_header X-Frame-Options DENY;
    add_header Referrer-Policy no-referrer;
    add_header Permissions-Policy "camera=(), microphone=(), geolocation=()";
  }
}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A contestant that listens."""

    port: int
    process: psutil.Process


class CannotStartError(Exception):
    """A contestant is missing here, or does not come up; the bench goes on without it."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(
    command: list[str], port: int, environ: Mapping[str, str], log: Path, path: str = "/"
) -> Iterator[Server]:
    """A process on the server's core, from when it answers until the end of the block."""
    with log.open("wb") as out:
        try:
            process = subprocess.Popen(
                ["taskset", "-c", str(cores()[0]), *command],
                env={**_plain_environment(), **environ},
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        except FileNotFoundError as error:
            raise CannotStartError(str(error)) from None
    try:
        wait_for_answer(port, path, process, log)
        yield Server(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _plain_environment() -> dict[str, str]:
    """The environment without anybody's settings, and with Python's own habit of keeping bytecode."""
    foreign = ("TSUKURIOKI_", "GEMINI_", "GOOGLE_", "OPENAI_", "OLLAMA_", "PROMETHEUS_", "GRANIAN_")
    kept = (item for item in os.environ.items() if not item[0].startswith(foreign))
    return {name: value for name, value in kept if name != "PYTHONDONTWRITEBYTECODE"}


def wait_for_answer(port: int, path: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something answers. Raises CannotStartError."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).read()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.002)
        else:
            return
    tail = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise CannotStartError(f"{Path(log).stem} did not answer: {' '.join(tail)[:200]}")


def settings_of(store: Path, folder: Path, **settings: object) -> dict[str, str]:
    """The settings of a server or a build on a store, with a ledger in a folder."""
    known: dict[str, object] = {
        "TSUKURIOKI_DECKS": DECKS,
        "TSUKURIOKI_STORE": store,
        "TSUKURIOKI_LEDGER": folder / "ledger",
        **settings,
    }
    return {name: str(value) for name, value in known.items()}


def environment(store: Path, folder: Path) -> dict[str, str]:
    """The environment of a build on a store."""
    return {**_plain_environment(), **settings_of(store, folder)}


def ours(
    store: Path, folder: Path, **settings: object
) -> contextlib.AbstractContextManager[Server]:
    """Tsukurioki as an operator starts it, with one worker unless the settings say otherwise."""
    port = free_port()
    environ = settings_of(
        store, folder, TSUKURIOKI_PORT=port, **{"TSUKURIOKI_WORKERS": 1, **settings}
    )
    return started([sys.executable, "-m", "app"], port, environ, folder / "ours.log", "/healthz")


def nginx(menu: Menu, folder: Path) -> contextlib.AbstractContextManager[Server]:
    """nginx with the same bytes as files and the same headers."""
    root, port = folder / "nginx" / "root", free_port()
    for request in menu.by_key:
        file = root / request.path.strip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(orjson.dumps(menu.answers[file.name]))
    # Its worker is not root's, and temporary folders are closed to others.
    for part in (folder, *folder.parents[: len(folder.parents) - 2]):
        part.chmod(part.stat().st_mode | 0o055)
    config = folder / "nginx" / "nginx.conf"
    config.write_text(_NGINX % {"folder": folder / "nginx", "port": port})
    command = [_program("nginx"), "-c", str(config), "-p", str(folder)]
    return started(command, port, {}, folder / "nginx.log", menu.by_key[0].path)


def edition(root: Path, folder: Path) -> contextlib.AbstractContextManager[Server]:
    """nginx with a static edition, as deploy/static configures it."""
    here = folder / "edition"
    shown = (ROOT / "deploy" / "static" / "nginx.conf").read_text("utf-8")
    port = free_port()
    config = here / "nginx.conf"
    # With the same connection settings as the other one, and none of its headers.
    server = f"listen 127.0.0.1:{port}; root {root};"
    text = _NGINX % {"folder": here, "port": port}
    config.write_text(f"{text[: text.index('  server {')]} server {{ {server}\n{shown} }} }}")
    for part in (folder, *folder.parents[: len(folder.parents) - 2]):
        part.chmod(part.stat().st_mode | 0o055)
    command = [_program("nginx"), "-c", str(config), "-p", str(here)]
    return started(command, port, {}, folder / "edition.log", "/edition.json")


def constant(menu: Menu, folder: Path) -> contextlib.AbstractContextManager[Server]:
    """What the HTTP server costs that we use, with nothing behind it."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "rsgi", "--no-ws", "--http", "1"]
    command += ["--loop", "uvloop", "--log-level", "critical", "--backpressure", "16384"]
    command += ["--port", str(port), "bench.rivals.constant:app"]
    return started(command, port, {}, folder / "constant.log", menu.by_key[0].path)


def smallest(folder: Path, workers: int) -> contextlib.AbstractContextManager[Server]:
    """A Flask application with one route on the HTTP server that we use."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--log-level", "critical"]
    command += ["--workers", str(workers), "--port", str(port), "bench.rivals.smallest:app"]
    return started(command, port, {}, folder / "smallest.log")


def flask_dict(menu: Menu, folder: Path) -> contextlib.AbstractContextManager[Server]:
    """Flask and a dict behind gunicorn."""
    python, port = _rival(folder, "flask_dict"), free_port()
    command = [python, "-m", "gunicorn", "-w", "1", "-b", f"127.0.0.1:{port}"]
    command += ["--threads", "4", "--keep-alive", "60", "bench.rivals.flask_dict:app"]
    return started(command, port, _answers(menu, folder), folder / "flask.log", menu.by_key[0].path)


def gptcache(menu: Menu, folder: Path) -> contextlib.AbstractContextManager[Server]:
    """GPTCache's server with its exact cache."""
    python, port = _rival(folder, "gptcache"), free_port()
    command = [python, "-m", "bench.rivals.gptcache_exact", str(port)]
    environ = {**_answers(menu, folder), "HOME": str(folder)}
    return started(command, port, environ, folder / "gptcache.log")


def aimock(texts: Mapping[str, str], folder: Path) -> contextlib.AbstractContextManager[Server]:
    """aimock with a fixture for each reply."""
    here, port = folder / "aimock", free_port()
    _install([_program("npm"), "install", "--silent", "--prefix", str(here), "@copilotkit/aimock"])
    fixtures = [
        {"match": {"userMessage": asked}, "response": {"content": text}}
        for asked, text in texts.items()
    ]
    (here / "fixtures.json").write_bytes(orjson.dumps({"fixtures": fixtures}))
    program = here / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    command = [_program("node"), str(program), "-p", str(port), "-f", str(here / "fixtures.json")]
    return started([*command, "--log-level", "silent"], port, {}, folder / "aimock.log")


def fakellm(texts: Mapping[str, str], folder: Path) -> contextlib.AbstractContextManager[Server]:
    """fakellm with a rule for each reply."""
    python, port = _rival(folder, "fakellm"), free_port()
    rules = [
        {"name": asked, "when": {"messages_contain": asked}, "respond": {"content": text}}
        for asked, text in texts.items()
    ]
    # JSON is YAML.
    (folder / "fakellm.yaml").write_bytes(orjson.dumps({"version": 1, "rules": rules}))
    command = [str(Path(python).with_name("fakellm")), "serve", "--port", str(port)]
    command += ["--config", str(folder / "fakellm.yaml")]
    return started(command, port, {}, folder / "fakellm.log")


def litellm(upstream: int, folder: Path) -> contextlib.AbstractContextManager[Server]:
    """LiteLLM's proxy with its cache in memory, before a server that has the replies."""
    python, port = _rival(folder, "litellm"), free_port()
    known = {"model": "openai/m", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "x"}
    config = {
        "model_list": [{"model_name": "m", "litellm_params": known}],
        "litellm_settings": {"cache": True, "cache_params": {"type": "local"}},
        # It is reached from this machine only.
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    (folder / "litellm.yaml").write_bytes(orjson.dumps(config))
    command = [str(Path(python).with_name("litellm")), "--config", str(folder / "litellm.yaml")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    environ = {"HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return started(command, port, environ, folder / "litellm.log", "/health/liveliness")


def _answers(menu: Menu, folder: Path) -> dict[str, str]:
    path = folder / "answers.json"
    path.write_bytes(orjson.dumps(menu.answers))
    return {"BENCH_ANSWERS": str(path)}


def _program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise CannotStartError(f"{name} is not installed")
    return found


def _rival(folder: Path, name: str) -> str:
    """The interpreter of an environment with what a rival needs."""
    python = folder / f"venv-{name}" / "bin" / "python"
    packages = RIVAL_PACKAGES[name]
    steps = (
        [sys.executable, "-m", "venv", str(python.parents[1])],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
    )
    for step in steps:
        _install(step)
    return str(python)


def _install(step: list[str]) -> None:
    """Run a step of an installation. Raises CannotStartError."""
    try:
        done = subprocess.run(step, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        raise CannotStartError(f"{step[-1]}: installing took too long") from None
    if done.returncode:
        fault = (done.stderr.strip().splitlines() or ["?"])[-1]
        raise CannotStartError(f"{step[-1]} cannot be installed: {fault[:160]}")


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Server]:
    """A redis-server with nothing on disk."""
    program, port = _program("redis-server"), free_port()
    command = [
        "taskset",
        "-c",
        str(cores()[0]),
        program,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
    ]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.01)
        yield Server(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()
