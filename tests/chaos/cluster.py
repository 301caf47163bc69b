"""Several server processes on one store, each of which can be killed, paused and replaced."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.chaos.answers import ANSWERS_VARIABLE, PROCESS_VARIABLE
from tests.chaos.history import Defect, Killed, Paused, Recorder, Started, Terminated, now
from tests.processes import DEFECTS, START_SECONDS, ServerProcess, serving

ROOT = Path(__file__).parent.parent.parent
RESTART_SECONDS = 0.2
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Process:
    """One server process, under a name that is used once."""

    def __init__(self, name: str, server: ServerProcess, stack: ExitStack) -> None:
        self.name = name
        self.server = server
        self.is_paused = False
        self._stack = stack

    @property
    def url(self) -> str:
        """Where sockets are opened."""
        return self.server.url

    def cpu_seconds(self) -> float:
        """What the process has burned so far."""
        stat = Path(f"/proc/{self.server.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICKS_PER_SECOND

    def stands_still(self) -> bool:
        """Whether SIGSTOP has reached all its threads."""
        threads = Path(f"/proc/{self.server.process.pid}/task").glob("*/stat")
        return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads)

    def signal(self, number: signal.Signals) -> None:
        self.server.process.send_signal(number)

    def close(self) -> str:
        """Ends the process and returns what it logged."""
        log = self.server.log
        self._stack.close()
        return log


class Cluster:
    """The processes that run now. Use it as `async with`.

    Args:
        url_for: the store's URL, for the process of a name.
        folder: where the processes' logs are left, and the file of what their completions do.
    """

    def __init__(
        self,
        url_for: Callable[[str], str],
        folder: Path,
        recorder: Recorder,
        *,
        lease_seconds: float,
        options: tuple[str, ...] = (),
        prefix: str = "p",
    ) -> None:
        self.running: list[Process] = []
        self._url_for = url_for
        self._folder = folder
        self._recorder = recorder
        self._lease_seconds = lease_seconds
        self._options = options
        self._prefix = prefix
        self._count = 0
        self._leaving: set[Process] = set()

    @property
    def answers(self) -> Path:
        """What the completions wrote."""
        return self._folder / "answers.jsonl"

    async def __aenter__(self) -> "Cluster":
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.running:
            self._note_death(process)
        await asyncio.gather(*(self._close(process) for process in [*self.running, *self._leaving]))
        self.running.clear()

    async def start(self, count: int = 1) -> None:
        """Starts so many processes at the same time; returns when all of them listen."""
        names = [f"{self._prefix}{self._count + index}" for index in range(count)]
        self._count += count
        self.running += await asyncio.gather(*(self._start(name) for name in names))

    async def _start(self, name: str) -> Process:
        deadline = now() + START_SECONDS
        while True:
            try:
                # Another thread: the way to the store may lead through this one's event loop.
                process = await asyncio.to_thread(self._serve, name, self._url_for(name))
            except RuntimeError as error:
                # A server that cannot reach its store says so and ends; who runs it tries again.
                if "cannot be reached" not in str(error) or now() > deadline:
                    raise
                await asyncio.sleep(RESTART_SECONDS)
            else:
                self._recorder.add(Started(now(), name))
                return process

    def _serve(self, name: str, url: str) -> Process:
        stack = ExitStack()
        server = stack.enter_context(
            serving(
                *("--store", url, "--completion", "tests.chaos.answers:complete"),
                *self._options,
                environment={
                    ANSWERS_VARIABLE: str(self.answers),
                    PROCESS_VARIABLE: name,
                    "GRAPHQL_APP_LEASE_SECONDS": f"{self._lease_seconds:g}",
                },
                directory=ROOT,
                traceback_is_expected=True,  # Found by `_close`, which does not end the round.
            )
        )
        return Process(name, server, stack)

    def pick(self, chance: random.Random) -> Process:
        """One of the processes, perhaps a paused one."""
        return chance.choice(self.running)

    async def kill(self, process: Process) -> None:
        self._note_death(process)
        self.running.remove(process)
        process.signal(signal.SIGKILL)
        self._recorder.add(Killed(now(), process.name))
        await self._close(process)

    async def pause(self, process: Process, seconds: float) -> None:
        """The process stands still for a while."""
        begin = now()
        process.is_paused = True
        process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.signal(signal.SIGCONT)
            process.is_paused = False
            self._recorder.add(Paused(begin, now(), process.name))

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """No process does anything for a moment."""
        for process in self.running:
            process.signal(signal.SIGSTOP)
        try:
            while not all(process.stands_still() for process in self.running):
                time.sleep(0.001)
            yield
        finally:
            for process in self.running:
                process.signal(signal.SIGCONT)

    async def terminate(self, process: Process) -> None:
        """The process shuts down as it wants to."""
        self._note_death(process)
        self.running.remove(process)
        self._leaving.add(process)
        begin = now()
        await asyncio.to_thread(process.server.terminate)
        self._recorder.add(Terminated(begin, now(), process.name))
        self._leaving.discard(process)
        await self._close(process)

    def _note_death(self, process: Process) -> None:
        status = process.server.process.poll()
        if status is not None:
            self._recorder.add(Defect(process.name, f"it died by itself, with status {status}"))

    async def _close(self, process: Process) -> None:
        log = await asyncio.to_thread(process.close)
        (self._folder / f"{process.name}.log").write_text(log)
        for defect in DEFECTS:
            if defect in log:
                begin = log.index(defect)
                self._recorder.add(
                    Defect(process.name, f"its log says {log[begin : begin + 2_000]!r}")
                )
