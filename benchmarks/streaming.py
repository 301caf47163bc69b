"""What streaming costs, here and on other servers.

    python -m benchmarks.streaming [--workload NAME]… [--server NAME]… [--rounds 3] [--quick]

Servers run one after the other, in turns, each in a new process on one core; the load runs on
another. Each text that is delivered is checked. docs/performance.md says what the figures mean.
"""

import argparse
import asyncio
import dataclasses
import math
import resource
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import uvloop

from benchmarks.clients import SELECTIONS
from benchmarks.machine import Cores, allowed_cores, pinned, wait_until_quiet
from benchmarks.servers import KINDS, OURS, Kind, require, running
from benchmarks.table import table
from benchmarks.workloads import (
    FINE,
    GROWTH,
    LAG_LIMIT_SECONDS,
    QUICK,
    WORKLOADS,
    Bench,
    Figures,
    Sizes,
    Workload,
    paced,
)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What stays the same in all rounds."""

    selection: str
    cores: Cores
    sizes: Sizes
    waits_for_quiet: bool


def measured(
    kind: Kind, setting: Setting, measure: Callable[[Bench], Awaitable[Figures]]
) -> tuple[Figures, bool]:
    """The figures of a new server, and whether something disturbed them."""
    if setting.waits_for_quiet:
        wait_until_quiet(setting.cores)
    with running(kind, setting.cores.server) as server, pinned(setting.cores.load):

        async def run() -> tuple[Figures, bool]:
            _end_at_errors(asyncio.get_running_loop())
            bench = Bench(server, SELECTIONS[setting.selection], setting.cores, setting.sizes)
            await bench.warm_up()
            figures = await measure(bench)
            bench.close()
            return figures, bench.is_disturbed

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run())


def _end_at_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Lets a defect in a callback end the measurement, instead of leaving it waiting."""
    task = asyncio.current_task()
    assert task is not None

    def end(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        loop.default_exception_handler(context)
        task.cancel()

    loop.set_exception_handler(end)


def most_paced(kind: Kind, setting: Setting) -> tuple[Figures, bool]:
    """The trial with the most replies that was still in time, or the first one if none was."""
    best: Figures | None = None
    good, bad = 0, math.inf
    count = kind.paced if setting.sizes.searches > 1 else setting.sizes.replies
    disturbed = False
    figures: Figures = {}
    for _ in range(setting.sizes.searches):
        figures, is_disturbed = measured(kind, setting, partial(paced, replies=count))
        disturbed = disturbed or is_disturbed
        if figures["p99 ms"] < LAG_LIMIT_SECONDS * 1_000:
            best, good = figures, count
        else:
            bad = count
        print(f"    {count} replies: p99 {figures['p99 ms']:.0f} ms", file=sys.stderr, flush=True)
        if not good:
            count = int(bad / GROWTH)
        elif bad == math.inf:
            count = math.ceil(good * GROWTH)
        elif bad / good <= FINE:
            break
        else:
            count = int(good + bad) // 2
    return best or {**figures, "replies": 0}, disturbed


def compare(workload: Workload, kinds: Sequence[Kind], rounds: int, setting: Setting) -> str:
    """The table of one workload."""
    found: dict[str, list[Figures]] = {kind.name: [] for kind in kinds}
    disturbed = {kind.name: False for kind in kinds}
    for number in range(1, rounds + 1):
        for kind in kinds:
            if workload.measure is None:
                figures, is_disturbed = most_paced(kind, setting)
            else:
                figures, is_disturbed = measured(kind, setting, workload.measure)
            found[kind.name].append(figures)
            disturbed[kind.name] = disturbed[kind.name] or is_disturbed
            shown = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
            print(f"  {number}/{rounds} {kind.name}: {shown}", file=sys.stderr, flush=True)
    return table(found, disturbed, compared=workload.compared, ours=OURS)


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures streaming, side by side with peers.")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="all, if not said")
    parser.add_argument("--server", action="append", choices=KINDS, help="all, if not said")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--selection", choices=SELECTIONS, default="client")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    sizes = parser.add_argument_group("sizes")
    for field in dataclasses.fields(Sizes):
        sizes.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    given = read_arguments(arguments)
    chosen = {
        field.name: value
        for field in dataclasses.fields(Sizes)
        if (value := getattr(given, field.name)) is not None
    }
    sizes = dataclasses.replace(QUICK if given.quick else Sizes(), **chosen)
    setting = Setting(given.selection, allowed_cores(), sizes, not given.quick)
    kinds = [KINDS[name] for name in given.server or KINDS]
    for kind in kinds:
        require(kind)
    # Both ends of each connection are a file; the servers inherit the limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name in given.workload or WORKLOADS:
        workload = WORKLOADS[name]
        print(f"{name}…", file=sys.stderr, flush=True)
        print(f"### {workload.title(sizes)}\n", flush=True)
        print(compare(workload, kinds, given.rounds, setting), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
