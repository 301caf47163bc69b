"""A real server in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 30.0

DEFECTS = ("Traceback", "was never retrieved", "was destroyed but it is pending", "never awaited")
"""What no client may bring a server to write into its log."""


class ServerProcess:
    """`graphql-app serve` on a free loopback port."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where sockets are opened."""
        return f"ws://127.0.0.1:{self.port}/graphql"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def check_log(self, begin: int = 0) -> None:
        """Fails if the log holds, from a position on, what only a defect writes."""
        log = self.log[begin:]
        assert not any(defect in log for defect in DEFECTS), log

    def workers(self) -> list[int]:
        """The process ids of the workers, if the server has any."""
        return [
            pid
            for pid in _children(self.process.pid)
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def send_signals(self, *numbers: signal.Signals) -> None:
        """Sends signals, and gives each the time to arrive."""
        for number in numbers:
            self.process.send_signal(number)
            time.sleep(0.2)

    def memory_bytes(self) -> int:
        """The resident memory of the process."""
        statm = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(statm[1]) * os.sysconf("SC_PAGE_SIZE")

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def terminate(self) -> int:
        """Sends SIGTERM and returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def serving(
    *options: str,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    traceback_is_expected: bool = False,
    within: Sequence[str] = (),
) -> Iterator[ServerProcess]:
    """A server that listens, and whose log must not hold what only a defect writes.

    Args:
        within: how a command begins that becomes the server.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*within, sys.executable, "-m", "graphql_app", "serve", "--port", "0", *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(environment or {})},
            )
        try:
            server = ServerProcess(process, _port(process, log), log)
            yield server
            if not traceback_is_expected:
                server.check_log()
        finally:
            children = _children(process.pid)
            process.kill()
            process.wait(STOP_SECONDS)
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)


def refusing(
    *options: str,
    command: str = "serve",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "graphql_app", command, *options],
        capture_output=True,
        text=True,
        cwd=directory,
        env={**os.environ, **(environment or {})},
        timeout=START_SECONDS,
        check=False,
    )


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")
