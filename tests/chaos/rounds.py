"""One round: processes on one store, clients who use them, and a nemesis."""

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.checker import Violation, check
from tests.chaos.cluster import Cluster
from tests.chaos.figures import Figures, measure
from tests.chaos.history import Recorder, Round, Settled, now, read_history
from tests.chaos.load import Load
from tests.chaos.nemeses import Arena, Attack
from tests.chaos.sites import Site, url_at
from tests.proxies import CuttingProxy, cutting_proxy

HISTORY, ANSWERS = "history.jsonl", "answers.jsonl"

LONGEST_ANSWER_SECONDS = 2.0
"""How long an answer takes, if it is not slowed down."""

WINDOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a round is, how slow its answers are, and how often the nemesis comes."""

    lease_seconds: float
    processes: int
    clients: int
    slowness: float
    visits: int


SHORT = Scale(lease_seconds=2.0, processes=2, clients=10, slowness=1.0, visits=1)
LONG = Scale(lease_seconds=10.0, processes=3, clients=20, slowness=3.0, visits=2)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a round."""

    violations: list[Violation]
    figures: Figures


async def play(site: Site, attack: Attack, seed: int, folder: Path, scale: Scale) -> Outcome:
    """Plays a round and judges it; the history and the logs are left in the folder."""
    recorder = Recorder(folder / HISTORY)
    recorder.add(Round(site.store, attack.name, seed, scale.lease_seconds))
    try:
        await _play(site, attack, random.Random(seed), folder, scale, recorder)
    finally:
        recorder.close()
    return judge(folder)


def judge(folder: Path) -> Outcome:
    """Judges the history in a folder, perhaps not for the first time."""
    history = read_history(folder / HISTORY, folder / ANSWERS)
    return Outcome(check(history), measure(history))


async def _play(
    site: Site,
    attack: Attack,
    chance: random.Random,
    folder: Path,
    scale: Scale,
    recorder: Recorder,
) -> None:
    async with AsyncExitStack() as stack:
        proxies: dict[str, CuttingProxy] = {}
        if attack.behind_proxies:
            assert site.server is not None
            for number in range(scale.processes):
                proxies[f"p{number}"] = await stack.enter_async_context(
                    cutting_proxy(site.server.port)
                )
        cluster = Cluster(
            lambda name: url_at(site, proxies[name].port) if proxies else site.url,
            folder,
            recorder,
            lease_seconds=scale.lease_seconds,
            options=attack.options,
        )
        await stack.enter_async_context(cluster)
        await cluster.start(1 if site.store == "memory" else scale.processes)
        load = Load(
            cluster,
            recorder,
            chance,
            clients=scale.clients,
            slowness=scale.slowness,
            bursts=attack.bursts,
            clears=attack.clears,
        )
        stack.push_async_callback(load.cancel)
        arena = Arena(site, cluster, recorder, chance, scale.lease_seconds, folder, proxies)
        for _ in range(scale.visits):
            await attack.run(arena)
        await load.settle(now() + LONGEST_ANSWER_SECONDS * scale.slowness + scale.lease_seconds + 8)
        recorder.add(Settled(now()))
        await load.audit(now() + WINDOW_SECONDS)
