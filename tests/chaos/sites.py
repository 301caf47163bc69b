"""Where the stores under attack live, and what can be done to them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.contracts.backends import BACKENDS, Backend
from tests.servers import DatabaseServer, PostgresServer, RedisServer, running

DISK_BYTES = 32 * 1024 * 1024
"""Room for all that a round stores, and for SQLite's log, which grows to 4 MiB."""

PIECE_BYTES = 4096

QUICK_RECOVERY = ("-c", "recovery_init_sync_method=syncfs")
"""After a crash PostgreSQL makes sure of each of its files, which takes it many seconds; or of the
file system, which does not."""

REQUIREMENTS: dict[str, Backend] = {backend.id: backend for backend in BACKENDS}
"""What each store needs, and what happens where it is missing."""


@dataclass(frozen=True, slots=True)
class Site:
    """One empty store, for one round.

    Args:
        server: the database server, if the store has one.
        file: the database file, if it is one.
    """

    store: str
    url: str
    server: DatabaseServer | None = None
    file: Path | None = None


class Sites:
    """Makes sites; servers that take long to set up are shared by all of them.

    Args:
        folder: for the servers' files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._postgres: PostgresServer | None = None
        self._count = 0

    def __enter__(self) -> "Sites":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, store: str, *, small_disk: bool = False) -> AbstractContextManager[Site]:
        self._count += 1
        folder = self._folder / f"{store}-{self._count}"
        folder.mkdir(parents=True)
        return {
            "memory": self._memory,
            "sqlite": self._sqlite_on_a_small_disk if small_disk else self._sqlite,
            "postgresql": self._postgresql,
            "redis": self._redis,
        }[store](folder)

    @contextmanager
    def _memory(self, folder: Path) -> Iterator[Site]:
        yield Site("memory", "memory://")

    @contextmanager
    def _sqlite(self, folder: Path) -> Iterator[Site]:
        file = folder / "chat.db"
        yield Site("sqlite", f"sqlite:///{file}", file=file)

    @contextmanager
    def _sqlite_on_a_small_disk(self, folder: Path) -> Iterator[Site]:
        with small_disk(folder), self._sqlite(folder) as site:
            yield site

    @contextmanager
    def _postgresql(self, folder: Path) -> Iterator[Site]:
        if self._postgres is None:
            where = self._folder / "postgres"
            where.mkdir()
            self._postgres = PostgresServer(where, *QUICK_RECOVERY)
            self._stack.enter_context(running(self._postgres))
        elif not self._postgres.answers():  # A round broke off while the server was away.
            self._postgres.start()
        name = f"chat_{self._count}"
        url = self._postgres.create_database(name)
        yield Site("postgresql", url, server=self._postgres)
        self._postgres.run_sql(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def _redis(self, folder: Path) -> Iterator[Site]:
        with running(RedisServer(folder)) as server:
            yield Site("redis", server.url, server=server)


def no_small_disk() -> str | None:
    """Why there can be no small disk here, or None if there can."""
    if os.geteuid() != 0:
        return "a full disk needs root, for mounting a small one"
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        check=False,
        capture_output=True,
        text=True,
    )
    return (
        None if done.returncode == 0 else f"a small disk cannot be mounted: {done.stderr.strip()}"
    )


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A folder that is a disk of its own."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leaves not a byte free on a disk, until it ends."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(PIECE_BYTES)):
                    pass
            except OSError:  # It is full.
                pass
        yield
    finally:
        filler.unlink()


def url_at(site: Site, port: int) -> str:
    """The site's URL by way of another port."""
    assert site.server is not None
    return site.url.replace(f":{site.server.port}", f":{port}")
