"""What Linux says of processes and cores."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

DISTURBED_SHARE = 0.08
DISTURBED_SECONDS = 0.05
"""More than this of a core, taken by others, makes a figure doubtful."""


@dataclass(frozen=True)
class Cores:
    """Where the server runs, and where the load does; one core, if there is only one."""

    server: int
    load: int


def allowed_cores() -> Cores:
    """The first and the last core that we may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keeps this process, and all that it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def process_tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for each in found:
        for task in _tasks(each):
            found += map(int, _read(task / "children").split())
    return found


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process and its children have taken, to the nanosecond."""
    return (
        sum(
            int((_read(task / "schedstat") or "0").split()[0])
            for each in process_tree(pid)
            for task in _tasks(each)
        )
        / 1e9
    )


def memory_bytes(pid: int) -> int:
    """The resident memory of a process and its children."""
    return sum(
        int((_read(Path(f"/proc/{each}/statm")) or "0 0").split()[1]) * PAGE_BYTES
        for each in process_tree(pid)
    )


def open_files(pid: int) -> int:
    return sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in process_tree(pid))


def busy_seconds(core: int) -> float:
    """The time that a core has been busy, with whatever."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _waiting, *interrupts = map(int, fields[:8])
            return (user + nice + system + sum(interrupts)) / TICKS_PER_SECOND
    raise ValueError(f"there is no core {core}")


@dataclass(frozen=True)
class Usage:
    """What a server took while something was measured."""

    seconds: float
    cpu_seconds: float
    is_disturbed: bool


class Meter:
    """Measures a server's CPU time from now on, and whether others took any."""

    def __init__(self, pid: int, cores: Cores) -> None:
        self._pid = pid
        self._cores = cores
        self.begin = time.time()
        self._before = self._look()

    def stop(self) -> Usage:
        seconds = time.time() - self.begin
        server, load, *busy = (
            now - then for now, then in zip(self._look(), self._before, strict=True)
        )
        others = [busy[0] - server - load] if len(busy) == 1 else [busy[0] - server, busy[1] - load]
        limit = max(DISTURBED_SECONDS, DISTURBED_SHARE * seconds)
        return Usage(seconds, server, max(others) > limit)

    def _look(self) -> list[float]:
        cores = dict.fromkeys((self._cores.server, self._cores.load))
        return [cpu_seconds(self._pid), time.process_time(), *map(busy_seconds, cores)]


def wait_until_quiet(cores: Cores, seconds: float = 10.0) -> None:
    """Returns when nobody uses the cores, or after so many seconds all the same."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        both = (cores.server, cores.load)
        before = [busy_seconds(core) for core in both]
        time.sleep(0.5)
        taken = (busy_seconds(core) - then for core, then in zip(both, before, strict=True))
        if max(taken) <= DISTURBED_SECONDS:
            return


def _tasks(pid: int) -> Iterable[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return ()


def _read(path: Path) -> str:
    """What a file of /proc says; nothing, if the process has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
