"""What is done to processes, stores and the network between them, at random moments."""

import asyncio
import itertools
import random
import shutil
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.clients import Asker
from tests.chaos.cluster import Cluster, Process
from tests.chaos.history import Away, Recorder, Row, Salvaged, now
from tests.chaos.load import KEPT
from tests.chaos.sites import Site, filled
from tests.proxies import CuttingProxy
from tests.servers import START_SECONDS, DatabaseServer

WAL_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
BACKFILLED_AT = 96
"""Where the index of a write-ahead log says how many of its frames are in the database already."""


@dataclass
class Arena:
    """What a nemesis has at hand.

    Args:
        proxies: the ways of the processes to the store, by process, where they lead over proxies.
        spared: the processes that are not ended.
    """

    site: Site
    cluster: Cluster
    recorder: Recorder
    chance: random.Random
    lease_seconds: float
    folder: Path
    proxies: dict[str, CuttingProxy] = field(default_factory=dict)
    spared: frozenset[str] = frozenset()
    copies: Iterator[int] = field(default_factory=itertools.count)

    def mortals(self) -> list[Process]:
        """The processes that may be ended."""
        return [process for process in self.cluster.running if process.name not in self.spared]

    @asynccontextmanager
    async def away(self, processes: Iterable[Process] | None = None) -> AsyncIterator[None]:
        """Notes that processes, or all, cannot use the store for as long as this is entered."""
        everybody = processes is None
        processes = list(self.cluster.running if processes is None else processes)
        begin, before = now(), {process: process.cpu_seconds() for process in processes}
        try:
            yield
        finally:
            burned = {
                process.name: process.cpu_seconds() - seconds
                for process, seconds in before.items()
                if process in self.cluster.running
            }
            self.recorder.add(Away(begin, now(), everybody, burned))

    async def moment(self) -> None:
        """Waits until something random may have happened."""
        await asyncio.sleep(self.chance.uniform(0.1, 1.0))

    def some_seconds(self) -> float:
        """Well within a lease, or well beyond."""
        factor = self.chance.choice([(0.1, 0.4), (1.3, 1.7)])
        return self.lease_seconds * self.chance.uniform(*factor)


async def calm(arena: Arena) -> None:
    """Nothing but what clients do, for long enough that lags can be measured."""
    await asyncio.sleep(2 + arena.lease_seconds)


async def kill(arena: Arena) -> None:
    """SIGKILL for a process, which another one replaces."""
    await arena.moment()
    async with asyncio.TaskGroup() as group:
        group.create_task(arena.cluster.kill(arena.chance.choice(arena.mortals())))
        group.create_task(arena.cluster.start())


async def pause(arena: Arena) -> None:
    """SIGSTOP for a process until its lease is over, then SIGCONT."""
    await arena.moment()
    seconds = arena.lease_seconds * arena.chance.uniform(1.3, 1.8)
    await arena.cluster.pause(arena.cluster.pick(arena.chance), seconds)
    await asyncio.sleep(1)


async def terminate(arena: Arena) -> None:
    """SIGTERM for each process in turn, after another one was started: a rolling restart."""
    for process in arena.mortals():
        await arena.moment()
        await arena.cluster.start()
        await arena.cluster.terminate(process)


async def kill_store(arena: Arena) -> None:
    """SIGKILL for the database server, which is started again after a while."""
    server = _server(arena)
    await arena.moment()
    async with arena.away():
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(arena.some_seconds())
        await asyncio.to_thread(started_again, server)
    await asyncio.sleep(1)


def started_again(server: DatabaseServer) -> None:
    """Starts a server that was killed; a worker of it may be slow to die, and stand in the way."""
    deadline = now() + START_SECONDS
    while True:
        try:
            return server.start()
        except RuntimeError:
            if now() > deadline:
                raise


async def restart_store(arena: Arena) -> None:
    """The database server is shut down and started as an administrator would."""
    await arena.moment()
    async with arena.away():
        await asyncio.to_thread(_server(arena).restart)
    await asyncio.sleep(1)


async def pause_store(arena: Arena) -> None:
    """SIGSTOP for the database server, then SIGCONT."""
    server = _server(arena)
    await arena.moment()
    async with arena.away():
        server.pause()
        try:
            await asyncio.sleep(arena.some_seconds())
        finally:
            server.resume()
    await asyncio.sleep(1)


async def cut_network(arena: Arena) -> None:
    """The ways to the database are cut, twice."""
    for _ in range(2):
        await cut(arena)
    await asyncio.sleep(1)


async def cut(arena: Arena) -> None:
    """The ways to the database are reset, closed, or swallow everything; of one process or all."""
    chance = arena.chance
    await arena.moment()
    everybody = list(arena.cluster.running)
    processes = everybody if chance.random() < 0.5 else [chance.choice(everybody)]
    proxies = [arena.proxies[process.name] for process in processes]
    how = chance.choice(["reset", "close", "swallow"])
    async with arena.away(processes if len(processes) < len(everybody) else None):
        for proxy in proxies:
            match how:
                case "reset":
                    proxy.cut_connections()
                case "close":
                    await proxy.refuse_connections()
                case "swallow":
                    proxy.stall()
        if how != "reset":
            await asyncio.sleep(arena.some_seconds())
        for proxy in proxies:
            match how:
                case "close":
                    await proxy.accept_connections()
                case "swallow":
                    proxy.resume()


async def fill_disk(arena: Arena) -> None:
    """Not a byte is left on the database's disk, for a while."""
    assert arena.site.file is not None
    await arena.moment()
    async with arena.away():
        with filled(arena.site.file.parent):
            await asyncio.sleep(arena.some_seconds())
    await asyncio.sleep(1)


def url_of(copy: Path) -> Callable[[str], str]:
    return lambda _: f"sqlite:///{copy}"


async def tear_log(arena: Arena) -> None:
    """The database is copied in the midst of writing, and the end of the copy's log torn off."""
    for _ in range(2):
        await arena.moment()
        number = next(arena.copies)
        copy, taken_at = _copy(arena, number)
        cluster = Cluster(
            url_of(copy),
            copy.parent,
            arena.recorder,
            lease_seconds=arena.lease_seconds,
            prefix=f"copy{number}-",
        )
        async with cluster:
            await cluster.start()
            [server] = cluster.running
            await _salvage(arena, server, copy, taken_at)


def _copy(arena: Arena, number: int) -> tuple[Path, float]:
    """Copies the database as a crash of the machine might have left it.

    What the database has already taken from the log was synced before, and cannot be torn.
    """
    file = arena.site.file
    assert file is not None
    folder = arena.folder / f"copy{number}"
    folder.mkdir()
    copy = folder / file.name
    log, index = f"{file.name}-wal", f"{file.name}-shm"
    with arena.cluster.standing_still():
        taken_at = now()
        shutil.copyfile(file, copy)
        shutil.copyfile(file.with_name(log), copy.with_name(log))
        index_bytes = file.with_name(index).read_bytes()
    [backfilled] = struct.unpack_from("=I", index_bytes, BACKFILLED_AT)
    with copy.with_name(log).open("r+b") as opened:
        header = opened.read(WAL_HEADER_BYTES)
        size = opened.seek(0, 2)
        if size > WAL_HEADER_BYTES:
            [page_bytes] = struct.unpack_from(">I", header, 8)
            safe = WAL_HEADER_BYTES + backfilled * (FRAME_HEADER_BYTES + page_bytes)
            opened.truncate(arena.chance.randint(min(safe, size), size))
    return copy, taken_at


async def _salvage(arena: Arena, server: Process, copy: Path, taken_at: float) -> None:
    """Notes what a server shows of a copy, at once and when the old leases have run out."""
    asker = Asker("salvager", Recorder(copy.with_suffix(".jsonl")))
    ends_at = now() + arena.lease_seconds + 5
    ended = False
    while not ended:
        rows: list[Row] = []
        for conversation in KEPT:
            rows += await asker.list_messages(server, conversation) or ()
        ended = now() > ends_at or not any(row.status == "STREAMING" for row in rows)
        arena.recorder.add(Salvaged(taken_at, copy.parent.name, ended, tuple(rows)))
        await asyncio.sleep(0.2)


async def storm(arena: Arena) -> None:
    """Two at a time, and then two others."""
    pairs = [(kill, pause)]
    if arena.site.server is not None:
        pairs += [
            (kill, kill_store),
            (kill, pause_store),
            (pause, kill_store),
            (pause, pause_store),
        ]
    for one, other in arena.chance.sample(pairs, min(2, len(pairs))):
        async with asyncio.TaskGroup() as group:
            group.create_task(one(arena))
            group.create_task(other(arena))


def _server(arena: Arena) -> DatabaseServer:
    assert arena.site.server is not None
    return arena.site.server


Nemesis = Callable[[Arena], Awaitable[None]]


@dataclass(frozen=True)
class Attack:
    """A nemesis, the stores that it can attack, and what it needs.

    Args:
        clears: whether clients clear a conversation meanwhile.
        bursts: whether some answers come all at once.
        options: of the servers.
    """

    run: Nemesis
    stores: tuple[str, ...]
    behind_proxies: bool = False
    on_a_small_disk: bool = False
    clears: bool = True
    bursts: bool = True
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.run.__name__.replace("_", " ")


SHARED = ("sqlite", "postgresql", "redis")
SERVERS = ("postgresql", "redis")

ATTACKS = {
    attack.name: attack
    for attack in (
        Attack(calm, ("memory", *SHARED), bursts=False),
        Attack(kill, SHARED),
        Attack(pause, SHARED),
        Attack(terminate, SHARED, options=("--drain-seconds", "1")),
        Attack(kill_store, SERVERS),
        Attack(restart_store, SERVERS),
        Attack(pause_store, SERVERS),
        Attack(cut_network, SERVERS, behind_proxies=True),
        Attack(fill_disk, ("sqlite",), on_a_small_disk=True),
        Attack(tear_log, ("sqlite",), clears=False),
        Attack(storm, SHARED),
    )
}
