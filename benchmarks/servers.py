"""The servers that are measured, each in a process of its own."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import Client, Selection, open_graphql, open_trpc
from benchmarks.machine import pinned

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"

START_SECONDS = 30.0
STOP_SECONDS = 3.0
LOOK_AGAIN_SECONDS = 0.002


@dataclass(frozen=True)
class Kind:
    """A kind of server.

    Args:
        command: starts it on the port that is added at the end.
        paced: about how many replies it can pace; the search begins there.
    """

    name: str
    command: tuple[str, ...]
    open: Callable[[int, Selection], Awaitable[Client]]
    paced: int
    needs_node: bool = False


def _uvicorn(application: str) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "uvicorn", f"benchmarks.peers.{application}"),
        *("--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio"),
        *("--ws-per-message-deflate", "false", "--lifespan", "off", "--backlog", "4096"),
        *("--no-access-log", "--log-level", "warning", "--port"),
    )


def _node(program: str) -> tuple[str, ...]:
    return ("node", str(PEERS / program))


OURS = "graphql-app"

OWN_COMMAND = (
    *(sys.executable, "-m", "graphql_app", "serve", "--store", "memory://"),
    *("--completion", "benchmarks.answers:recite", "--port"),
)

KINDS = {
    kind.name: kind
    for kind in (
        Kind(OURS, OWN_COMMAND, open_graphql, 1_200),
        Kind("bare uvicorn", _uvicorn("bare:app"), open_graphql, 1_800),
        Kind("Node graphql-ws", _node("graphql_ws.mjs"), open_graphql, 450, needs_node=True),
        Kind("Node tRPC", _node("trpc.mjs"), open_trpc, 600, needs_node=True),
        Kind("naive Strawberry", _uvicorn("naive:app"), open_graphql, 100),
    )
}

ENVIRONMENT = {"GRAPHQL_APP_COMPLETION_TIMEOUT_SECONDS": "3600"}
"""The idle replies are silent for longer than a reply otherwise may be."""


@dataclass(frozen=True)
class Server:
    kind: Kind
    pid: int
    port: int
    start_seconds: float


@contextmanager
def running(kind: Kind, core: int) -> Iterator[Server]:
    """A new server that listens, on one core."""
    require(kind)
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        begin = time.monotonic()
        with pinned(core):
            process = subprocess.Popen(
                [*kind.command, str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **ENVIRONMENT},
            )
        try:
            try:
                _wait_until_listening(process, port, begin)
                yield Server(kind, process.pid, port, time.monotonic() - begin)
            except BaseException:
                log.seek(0)
                print(log.read().decode()[-4_000:], file=sys.stderr)
                raise
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def require(kind: Kind) -> None:
    """Ends the program if a server cannot be started here."""
    installed = shutil.which("node") and (PEERS / "node_modules").is_dir()
    if kind.needs_node and not installed:
        raise SystemExit(f"{kind.name} needs Node 20 and its packages: `make bench` installs them.")


def _wait_until_listening(process: "subprocess.Popen[bytes]", port: int, begin: float) -> None:
    while time.monotonic() - begin < START_SECONDS:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            if process.poll() is not None:
                break
            time.sleep(LOOK_AGAIN_SECONDS)
        else:
            return
    raise RuntimeError("the server did not start")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
