"""Real Redis and PostgreSQL servers, each with files of its own, on a free loopback port."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

START_SECONDS = 30.0
STOP_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def program(name: str) -> str | None:
    """Where a server's program is; Debian keeps PostgreSQL's out of the path."""
    if found := shutil.which(name):
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(versions[-1]) if versions else None


class DatabaseServer:
    """A server process that can be stopped, killed, paused and started again at the same port.

    Args:
        folder: where its files are, the log among them.
    """

    user: ClassVar[str | None] = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of a store."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the server takes commands."""
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd=self.home, user=self._user()
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log_text = (self.folder / "log").read_text()
                raise RuntimeError(f"{self.command()[0]} did not start:\n{log_text}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends the server as an administrator would, in a hurry."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server without a warning."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """The server answers nothing until `resume`, with all connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self._signal(number)
            self.process.wait(STOP_SECONDS)
            self.process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "the server does not run"
        self.process.send_signal(number)

    def _user(self) -> str | None:
        """The user to run as; PostgreSQL refuses to be root."""
        return self.user if os.getuid() == 0 else None


class RedisServer(DatabaseServer):
    """Redis with an append-only file, if not said otherwise by further options."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.options = options or ("--appendonly", "yes")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        found = program("redis-server")
        assert found is not None
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        return [found, *where, "--save", "", *self.options]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class PostgresServer(DatabaseServer):
    """PostgreSQL with one empty database for each name that is asked for.

    Its files, but for the log, are in a `home` outside of the folder, until the last use of this
    object: where tests run as root the server is another user, and every run of pytest shuts all
    other users out of what is around its folders, those of runs that are under way too.
    """

    user = "postgres"

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.options = options
        self.home = Path(tempfile.mkdtemp(prefix="postgresql-"))
        weakref.finalize(self, shutil.rmtree, self.home, ignore_errors=True)
        self.data = self.home / "data"
        if (user := self._user()) is not None:
            shutil.chown(self.home, user)
        initdb = program("initdb")
        assert initdb is not None
        subprocess.run(
            [initdb, "-D", self.data, "-U", "chat", "-A", "trust", "-E", "UTF8", "-N"],
            check=True,
            capture_output=True,
            cwd=self.home,
            user=self._user(),
        )

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://chat@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Makes an empty database and returns its URL."""
        self.run_sql(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def run_sql(self, statement: str, database: str = "postgres") -> str:
        found = program("psql")
        assert found is not None
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "chat", "-d", database]
        done = subprocess.run(
            [found, "-X", "-q", "-A", "-t", *where, "-c", statement],
            check=True,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        return done.stdout.strip()

    def command(self) -> list[str]:
        found = program("postgres")
        assert found is not None
        where = ["-D", str(self.data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        return [found, *where, "-c", f"unix_socket_directories={self.home}", *self.options]

    def answers(self) -> bool:
        found = program("pg_isready")
        assert found is not None
        command = [found, "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self) -> None:
        # Fast shutdown: does not wait for its clients.
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Ends the server and its workers without a warning."""
        assert self.process is not None
        workers = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        children = [int(pid) for pid in workers.read_text().split()]
        self._end(signal.SIGKILL)
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def pause(self) -> None:
        """All of the server's processes stand still."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for process in [pid, *map(int, children)]:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue


@contextmanager
def running(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """Starts a server, and kills it at the end."""
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            server.kill()
