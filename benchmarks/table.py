"""Figures of several rounds as a Markdown table."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.workloads import Figures

MARK = " \\*"
NOTE = "\\* In at least one round something else used one of the two cores."


def table(
    measured: Mapping[str, Sequence[Figures]],
    disturbed: Mapping[str, bool],
    *,
    compared: Sequence[str],
    ours: str,
) -> str:
    """A row for each server: the medians of its rounds, the smallest and the largest.

    Args:
        measured: the rounds of each server, by name.
        disturbed: whether other load was seen in any of its rounds.
        compared: the figures that get a column with our ratio to each peer: the median of
            the ratios of each round.
    """
    names = list(next(iter(measured.values()))[0])
    ratios = [name for name in compared if ours in measured and len(measured) > 1]
    heads = ["server", *names, *(f"{name}: ours / its" for name in ratios)]
    lines = [_line(heads), _line(["---", *["---:"] * (len(heads) - 1)])]
    for server, rounds in measured.items():
        cells = [server + (MARK if disturbed[server] else "")]
        cells += [spread([figures[name] for figures in rounds]) for name in names]
        for name in ratios:
            pairs = zip(measured[ours], rounds, strict=True)
            values = [our[name] / its[name] for our, its in pairs if its[name]]
            cells.append(spread(values) if server != ours else "")
        lines.append(_line(cells))
    if any(disturbed.values()):
        lines += ["", NOTE]
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """The median, and the range if there is one."""
    if not values:
        return ""
    low, high = shown(min(values)), shown(max(values))
    middle = shown(median(values))
    return middle if low == high else f"{middle} ({low}..{high})"


def shown(value: float) -> str:
    """Three digits, or all before the point."""
    if not math.isfinite(value):
        return "never" if value > 0 else "none"
    if abs(value) < 0.005:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(2, digits)}f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
