"""A short round of each kind: real processes, real faults, and not one broken promise.

`make chaos` plays the long ones. CHAOS_SEED takes the place of the seed, for all rounds.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.nemeses import ATTACKS
from tests.chaos.rounds import SHORT, play
from tests.chaos.sites import REQUIREMENTS, Sites, no_small_disk

SEED = int(os.environ.get("CHAOS_SEED", "1"))

ROUNDS = [
    ("memory", "calm"),
    *(("sqlite", name) for name in ("kill", "pause", "fill disk", "tear log")),
    *(
        (store, name)
        for store in ("postgresql", "redis")
        for name in ("kill", "pause", "kill store", "pause store", "cut network")
    ),
]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with Sites(tmp_path_factory.mktemp("sites")) as sites:
        yield sites


@pytest.mark.parametrize(("store", "name"), ROUNDS, ids=[" ".join(pair) for pair in ROUNDS])
async def test_every_promise_is_kept(store: str, name: str, sites: Sites, tmp_path: Path) -> None:
    REQUIREMENTS[store].require()
    attack = ATTACKS[name]
    if attack.on_a_small_disk and (reason := no_small_disk()) is not None:
        pytest.skip(reason)
    with sites.open(store, small_disk=attack.on_a_small_disk) as site:
        outcome = await play(site, attack, SEED, tmp_path, SHORT)
    assert outcome.figures.replies, "nobody was answered"
    broken = "\n".join(map(str, outcome.violations))
    assert not broken, f"seed {SEED}, history in {tmp_path}:\n{broken}"
