"""`python -m tests.chaos`: attacks the stores for a while, and prints what came of it."""

import argparse
import asyncio
import itertools
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.figures import Figures
from tests.chaos.nemeses import ATTACKS, Attack
from tests.chaos.rounds import LONG, SHORT, Scale, judge, play
from tests.chaos.sites import REQUIREMENTS, Sites, no_small_disk
from tests.servers import program

SHOWN_VIOLATIONS = 8
"""Of one round; all of them can be had from its history."""

STORES = ("memory", "sqlite", "postgresql", "redis")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="how long (15)")
    parser.add_argument("--rounds", type=int, default=1_000, help="how many rounds at most")
    parser.add_argument("--store", action="append", choices=STORES, help="only this one")
    parser.add_argument("--nemesis", action="append", choices=tuple(ATTACKS), help="only this one")
    parser.add_argument("--seed", type=int, help="of the first round; each further one adds 1")
    parser.add_argument(
        "--short", action="store_true", help="rounds as small as those of the tests"
    )
    parser.add_argument("--keep", type=Path, help="keep all histories in this folder")
    parser.add_argument("--judge", type=Path, help="judge the history in this folder again")
    given = parser.parse_args()
    if given.judge is not None:
        violations = judge(given.judge).violations
        for violation in violations:
            _print(str(violation))
        return 1 if violations else 0
    seed = random.randrange(10**6) if given.seed is None else given.seed
    folder = given.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    pairs = [
        (store, attack)
        for attack in ATTACKS.values()
        for store in attack.stores
        if (not given.store or store in given.store)
        and (not given.nemesis or attack.name in given.nemesis)
    ]
    table = attacked(
        [pair for pair in pairs if _can_be_attacked(*pair)],
        seed=seed,
        until=time.monotonic() + 60 * given.minutes,
        most_rounds=given.rounds,
        scale=SHORT if given.short else LONG,
        folder=folder,
        keeps=given.keep is not None,
    )
    _print(formatted(table))
    count = sum(figures.violations for figures in table.values())
    if count:
        _print(f"{count} violations; their histories are in {folder}")
    elif given.keep is None:
        shutil.rmtree(folder)
    return 1 if count else 0


Pair = tuple[str, Attack]


def attacked(
    pairs: list[Pair],
    *,
    seed: int,
    until: float,
    most_rounds: int,
    scale: Scale,
    folder: Path,
    keeps: bool,
) -> dict[Pair, Figures]:
    """Plays round after round, each pair in its turn, and returns each pair's figures.

    The histories of rounds in which a promise was broken are left in the folder.
    """
    table: dict[Pair, Figures] = {}
    with (
        tempfile.TemporaryDirectory(prefix="chaos-stores-") as stores,
        Sites(Path(stores)) as sites,
    ):
        for number, pair in enumerate(itertools.islice(itertools.cycle(pairs), most_rounds)):
            if time.monotonic() > until:
                break
            store, attack = pair
            here = folder / f"{store}-{attack.name.replace(' ', '-')}-{seed + number}"
            here.mkdir(parents=True)
            began = time.monotonic()
            figures = table.setdefault(pair, Figures())
            try:
                with sites.open(store, small_disk=attack.on_a_small_disk) as site:
                    outcome = asyncio.run(play(site, attack, seed + number, here, scale))
            except Exception as error:
                # Such as a server that does not start: counted, and the others are still played.
                _print(f"{store}, {attack.name}, seed {seed + number}: broke off: {error}")
                figures.violations += 1
                continue
            figures.add(outcome.figures)
            figures.violations += len(outcome.violations)
            _print(
                f"{store}, {attack.name}, seed {seed + number}: {outcome.figures.replies} replies "
                f"in {time.monotonic() - began:.0f} s, {len(outcome.violations)} violations"
            )
            for violation in outcome.violations[:SHOWN_VIOLATIONS]:
                _print(f"    {violation}")
            if not outcome.violations and not keeps:
                shutil.rmtree(here)
    return table


def _can_be_attacked(store: str, attack: Attack) -> bool:
    needed = REQUIREMENTS[store].program
    reason = no_small_disk() if attack.on_a_small_disk else None
    if needed is not None and program(needed) is None:
        reason = f"{needed} is not installed"
    if reason is not None:
        _print(f"{store}, {attack.name}: left out, {reason}")
    return reason is None


HEADINGS = (
    "store", "nemesis", "rounds", "replies", "chunks", "cuts", "kills", "lost", "violations",
    "slowest truth", "lag p50", "lag p99",
)  # fmt: skip


def formatted(table: dict[Pair, Figures]) -> str:
    """The figures as a table in Markdown."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS)]
    for (store, attack), figures in sorted(table.items(), key=lambda item: item[0][0]):
        counts = (
            figures.rounds, figures.replies, figures.chunks, figures.cuts, figures.kills,
            figures.lost, figures.violations,
        )  # fmt: skip
        truth = f"{max(figures.truths):.1f} s" if figures.truths else "–"
        lags = (figures.lag(share) for share in (0.5, 0.99))
        lines.append(
            (
                *(store, attack.name, *(f"{count:,}" for count in counts), truth),
                *("–" if lag is None else f"{1000 * lag:.0f} ms" for lag in lags),
            )
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
