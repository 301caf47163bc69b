"""`python -m tests.soak`: ten minutes of load on each store, with a fault every 20 seconds.

The stores are used side by side, by servers of their own. It fails if a promise was broken, if
less was done than was planned, or if a server that lived through it has grown.
"""

import argparse
import asyncio
import multiprocessing
import random
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.checker import Violation
from tests.chaos.sites import REQUIREMENTS, Site, Sites
from tests.servers import program
from tests.soak.growth import Size
from tests.soak.soak import NEMESES, Plan, Result, Soak

SHOWN_VIOLATIONS = 8
"""Of one store; all of them can be had from its histories."""


def main() -> int:
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=plan.seconds / 60, help="how long (10)")
    parser.add_argument(
        "--every", type=float, default=plan.every_seconds, help="seconds between faults (20)"
    )
    parser.add_argument("--store", action="append", choices=tuple(NEMESES), help="only this one")
    parser.add_argument("--clients", type=int, default=plan.clients, help="of each store (5)")
    parser.add_argument("--seed", type=int, help="of what is chosen at random")
    parser.add_argument("--keep", type=Path, help="keep all histories in this folder")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    faults = max(1, round(given.minutes * 60 / given.every))
    plan = Plan(faults=faults, every_seconds=given.every, clients=given.clients)
    stores = [store for store in given.store or NEMESES if _is_there(store)]
    if not stores:
        _print("there is no store to soak")
        return 1
    folder = given.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    _print(f"{', '.join(stores)}: {plan.seconds:g} s, seed {seed}")
    results = soaked(stores, plan, seed, folder)
    _print(formatted(results))
    failures = [violation for result in results.values() for violation in result.violations]
    for result in results.values():
        for violation in result.violations[:SHOWN_VIOLATIONS]:
            _print(f"    {violation}")
    if failures:
        _print(f"{len(failures)} violations; the histories are in {folder}")
    elif given.keep is None:
        shutil.rmtree(folder)
    return 1 if failures else 0


def soaked(stores: list[str], plan: Plan, seed: int, folder: Path) -> dict[str, Result]:
    """Soaks all stores at the same time, and returns what came of each."""
    with ExitStack() as stack:
        files = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-stores-")))
        sites = stack.enter_context(Sites(files))
        opened = [stack.enter_context(sites.open(store)) for store in stores]
        judges = stack.enter_context(
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        )
        return asyncio.run(_soaked(opened, plan, seed, folder, judges))


async def _soaked(
    sites: list[Site], plan: Plan, seed: int, folder: Path, judges: ProcessPoolExecutor
) -> dict[str, Result]:
    async def soak(number: int, site: Site) -> Result:
        here = folder / site.store
        here.mkdir(parents=True)
        soak = Soak(site, plan, seed + number, here, judges=judges, say=_print)
        try:
            # Not at the same moment at all stores.
            return await soak.run(plan.every_seconds * number / len(sites) / 2)
        except Exception as error:
            # Such as a server that does not start: the others go on.
            broken = Violation("sound", site.store, f"it broke off: {error!r}")
            return Result(violations=[broken])

    results = await asyncio.gather(*(soak(number, site) for number, site in enumerate(sites)))
    return {site.store: result for site, result in zip(sites, results, strict=True)}


def _is_there(store: str) -> bool:
    needed = REQUIREMENTS[store].program
    if needed is None or program(needed) is not None:
        return True
    _print(f"{store}: left out, {needed} is not installed")
    return False


HEADINGS = (
    "store", "seconds", "faults", "replies", "chunks", "cuts", "resumes", "kills", "lost",
    "violations", "slowest truth", "lag p50", "lag p99", "memory", "files", "tasks",
)  # fmt: skip


def formatted(results: dict[str, Result]) -> str:
    """The figures as a table in Markdown."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS)]
    for store, result in results.items():
        figures = result.figures
        counts = (
            round(result.seconds), result.faults, figures.replies, figures.chunks, figures.cuts,
            figures.resumes, figures.kills, figures.lost, len(result.violations),
        )  # fmt: skip
        lags = (figures.lag(share) for share in (0.5, 0.99))
        lines.append(
            (
                *(store, *(f"{count:,}" for count in counts)),
                f"{max(figures.truths):.1f} s" if figures.truths else "–",
                *("–" if lag is None else f"{1000 * lag:.0f} ms" for lag in lags),
                *_weights(result.sizes),
            )
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _weights(sizes: list[Size]) -> tuple[str, str, str]:
    """What the process held after the first spell, and after the last."""
    if not sizes:
        return "–", "–", "–"
    first, last = sizes[0], sizes[-1]
    return (
        f"{first.memory_bytes / 1e6:.0f} → {last.memory_bytes / 1e6:.0f} MB",
        f"{first.files} → {last.files}",
        f"{first.tasks} → {last.tasks}",
    )


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
