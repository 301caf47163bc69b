"""One store under load for a long time, with a fault every so many seconds.

The time is cut into spells of some faults. A spell has conversations and a history of its own,
which is judged while the next one goes on. At its end all clients leave, and the first process is
weighed: it lives through everything but kills and restarts, which are for the others.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.checker import CLOSING_SECONDS, Violation, check
from tests.chaos.clients import Reader
from tests.chaos.cluster import Cluster, Process
from tests.chaos.figures import Figures
from tests.chaos.history import (
    Called,
    Drafted,
    Event,
    Quit,
    Recorder,
    Round,
    Settled,
    from_line,
    now,
    read_history,
)
from tests.chaos.load import Load
from tests.chaos.nemeses import (
    Arena,
    Nemesis,
    cut,
    kill,
    kill_store,
    pause,
    pause_store,
    restart_store,
    storm,
    terminate,
)
from tests.chaos.rounds import (
    ANSWERS,
    HISTORY,
    LONGEST_ANSWER_SECONDS,
    WINDOW_SECONDS,
    Outcome,
    judge,
)
from tests.chaos.sites import Site, url_at
from tests.proxies import CuttingProxy, cutting_proxy
from tests.soak.growth import Size, grown

ON_ANY = (kill, pause, terminate)
ON_A_SERVER = (*ON_ANY, kill_store, restart_store, pause_store, cut)

NEMESES: dict[str, tuple[Nemesis, ...]] = {
    "sqlite": (*ON_ANY, storm),
    "postgresql": ON_A_SERVER,
    "redis": ON_A_SERVER,
}
"""What is done to whom; what may take longer than the time between two faults is left to
`make chaos`."""

ELDER, OTHERS = "p0", "others"
"""The process that is spared, and how the way to the store of all others is called."""

SETTLING_SHARE = 0.3
"""How much of the time between two faults is for the end of a spell."""

LOOKS = 5
LOOK_SECONDS = 0.1
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a soak is, how often something happens, and how much load there is.

    Args:
        faults: how many there are.
        every_seconds: the time from one fault to the next.
        slowness: how many times as long as usual the answers take.
    """

    faults: int = 30
    every_seconds: float = 20.0
    faults_in_a_spell: int = 3
    lease_seconds: float = 4.0
    processes: int = 2
    clients: int = 5
    slowness: float = 2.0

    @property
    def seconds(self) -> float:
        return self.faults * self.every_seconds

    def spells(self) -> Iterator[range]:
        """The numbers of the faults of each spell."""
        numbers = range(self.faults)
        for first in numbers[:: self.faults_in_a_spell]:
            yield numbers[first : first + self.faults_in_a_spell]


@dataclass
class Result:
    """What came of a soak of one store.

    Args:
        seconds: of load.
        behind_seconds: how late the latest fault was, since what was before took so long.
        sizes: of the process that lived through it, at the end of each spell.
    """

    faults: int = 0
    seconds: float = 0.0
    behind_seconds: float = 0.0
    figures: Figures = field(default_factory=Figures)
    violations: list[Violation] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)


class Ways(dict[str, CuttingProxy]):
    """The ways to the store: the elder has one, and all others share one."""

    def __missing__(self, process: str) -> CuttingProxy:
        return self[OTHERS]


class Answers:
    """What the completions write, all into one file, cut into what was written in each spell."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept_bytes = 0

    def new(self) -> list[Event]:
        """What was written since the last spell."""
        return [from_line(line) for line in self._new_lines()]

    async def keep(self, file: Path) -> None:
        """Puts what is new into a file, as soon as every call of a completion has ended."""
        give_up_at = now() + CLOSING_SECONDS
        while now() < give_up_at:
            events = self.new()
            running = {event.message for event in events if isinstance(event, Called)}
            if running <= {event.message for event in events if isinstance(event, Quit)}:
                break
            await asyncio.sleep(POLL_SECONDS)
        self._cut_to(file)

    def skip(self) -> None:
        """Takes what is new for seen."""
        self._kept_bytes += sum(map(len, self._new_lines()))

    def _cut_to(self, file: Path) -> None:
        file.write_bytes(b"".join(self._new_lines()))
        self.skip()

    def _new_lines(self) -> list[bytes]:
        if not self._file.exists():
            return []
        with self._file.open("rb") as opened:
            opened.seek(self._kept_bytes)
            return opened.readlines()


class Soak:
    """One store under load.

    Args:
        folder: where each spell leaves its history, in a folder of its own.
        judges: decide about histories, in other processes: it takes them a second or two.
        say: takes a line for whoever watches.
        nemeses: what is done, in the place of everything that can be done to such a store.
    """

    def __init__(
        self,
        site: Site,
        plan: Plan,
        seed: int,
        folder: Path,
        *,
        judges: Executor,
        say: Callable[[str], None],
        nemeses: Sequence[Nemesis] | None = None,
    ) -> None:
        self._site = site
        self._plan = plan
        self._seed = seed
        self._folder = folder
        self._judges = judges
        self._say = say
        self._chance = random.Random(seed)
        self._nemeses = _in_turn(nemeses or NEMESES[site.store], self._chance)
        self._recorder = Recorder(folder / HISTORY)
        self._answers = Answers(folder / ANSWERS)
        self._verdicts: list[asyncio.Future[Outcome]] = []
        self._result = Result()

    async def run(self, delay_seconds: float = 0.0) -> Result:
        """Runs for the time of the plan, with the first fault after the delay, and judges it."""
        plan, result = self._plan, self._result
        async with AsyncExitStack() as stack:
            arena = await self._arena(stack)
            began = now()
            for number, faults in enumerate(plan.spells()):
                spell = self._folder / f"spell-{number}"
                spell.mkdir()
                self._recorder.turn_to(spell / HISTORY)
                await self._play(arena, f"s{number}-", faults, began + delay_seconds)
                await self._answers.keep(spell / ANSWERS)
                self._recorder.turn_to(self._folder / HISTORY)
                result.sizes.append(await self._weigh(arena.cluster.running[0], number))
                self._judge(spell)
            result.seconds = now() - began
        self._recorder.close()
        # No part of a spell is what was noted as the processes ended: what is wrong in their logs.
        result.violations += check(read_history(self._folder / HISTORY))
        for outcome in await asyncio.gather(*self._verdicts):
            result.figures.add(outcome.figures)
            result.violations += outcome.violations
        result.violations += grown(f"{self._site.store} {ELDER}", result.sizes)
        return result

    async def _arena(self, stack: AsyncExitStack) -> Arena:
        """Processes that listen, and the ways between them and the store."""
        site, plan = self._site, self._plan
        ways = Ways()
        if site.server is not None:
            for name in (ELDER, OTHERS):
                ways[name] = await stack.enter_async_context(cutting_proxy(site.server.port))
        cluster = Cluster(
            lambda name: url_at(site, ways[name].port) if ways else site.url,
            self._folder,
            self._recorder,
            lease_seconds=plan.lease_seconds,
            options=("--drain-seconds", "1"),
        )
        await stack.enter_async_context(cluster)
        await cluster.start(plan.processes)
        return Arena(
            site,
            cluster,
            self._recorder,
            self._chance,
            plan.lease_seconds,
            self._folder,
            ways,
            spared=frozenset({ELDER}),
        )

    async def _play(self, arena: Arena, prefix: str, faults: range, first_at: float) -> None:
        """A spell: the load, its faults, and the time for all replies to end."""
        plan, recorder = self._plan, self._recorder
        recorder.add(Round(self._site.store, "soak", self._seed, plan.lease_seconds))
        load = Load(
            arena.cluster,
            recorder,
            self._chance,
            clients=plan.clients,
            slowness=plan.slowness,
            prefix=prefix,
        )
        try:
            for fault in faults:
                due = first_at + fault * plan.every_seconds
                await asyncio.sleep(due - now())
                self._result.behind_seconds = max(self._result.behind_seconds, now() - due)
                nemesis = next(self._nemeses)
                self._say(f"{self._site.store}: {nemesis.__name__.replace('_', ' ')}")
                await nemesis(arena)
                self._result.faults += 1
            settling_at = first_at + (faults[-1] + 1 - SETTLING_SHARE) * plan.every_seconds
            await asyncio.sleep(settling_at - now())
            await load.settle(
                now() + LONGEST_ANSWER_SECONDS * plan.slowness + plan.lease_seconds + 8
            )
            recorder.add(Settled(now()))
            await load.audit(now() + WINDOW_SECONDS)
        finally:
            await load.cancel()

    async def _weigh(self, process: Process, number: int) -> Size:
        """What a process holds: the least that several looks find, since clients have just left."""
        draft = Drafted(f"weight-{number}", "weights", "1 0 0", "")
        await Reader("weigher", draft, Recorder(self._folder / "weights.jsonl")).follow(process)
        [tasks] = [
            event.tasks
            for event in self._answers.new()
            if isinstance(event, Called) and event.message == draft.message
        ]
        self._answers.skip()  # No spell has sent that.
        looks: list[tuple[int, int]] = []
        for _ in range(LOOKS):
            looks.append((process.server.memory_bytes(), process.server.open_files()))
            await asyncio.sleep(LOOK_SECONDS)
        memory, files = map(min, zip(*looks, strict=True))
        return Size(memory, files, tasks)

    def _judge(self, spell: Path) -> None:
        self._verdicts.append(
            asyncio.get_running_loop().run_in_executor(self._judges, judge, spell)
        )


def _in_turn(nemeses: Sequence[Nemesis], chance: random.Random) -> Iterator[Nemesis]:
    """All of them, and all again in another order."""
    while True:
        yield from chance.sample(nemeses, len(nemeses))
