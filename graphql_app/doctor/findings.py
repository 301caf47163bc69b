"""What an examination finds, and how it is told."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is, from fine to unfit."""

    OK = "ok"
    WARN = "warn"
    """It works, and something about it is dangerous, or will be."""

    FAIL = "fail"
    """It does not work."""


ORDER = tuple(Level)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: the area and the thing, such as `store.version`; docs/how-to/doctor.md explains each.
        sentence: what was found.
        advice: what to do about it; empty if there is nothing to do.
    """

    name: str
    level: Level
    sentence: str
    advice: str = ""


def ok(name: str, sentence: str) -> Finding:
    return Finding(name, Level.OK, sentence)


def warn(name: str, sentence: str, advice: str) -> Finding:
    return Finding(name, Level.WARN, sentence, advice)


def fail(name: str, sentence: str, advice: str) -> Finding:
    return Finding(name, Level.FAIL, sentence, advice)


def worst(findings: Iterable[Finding]) -> Level:
    """The level of the worst of them."""
    return max((finding.level for finding in findings), key=ORDER.index, default=Level.OK)


def exit_status(findings: Iterable[Finding]) -> int:
    """0 if all is well, 1 if there is a warning, 2 if something does not work."""
    return ORDER.index(worst(findings))


def as_text(findings: Iterable[Finding], paint: Callable[[Level, str], str]) -> str:
    """The findings for people, by area, with a last line that counts them.

    Args:
        paint: gives a word the colour of a level, or leaves it as it is.
    """
    findings = list(findings)
    lines: list[str] = []
    area = ""
    for finding in findings:
        if finding.name.partition(".")[0] != area:
            area = finding.name.partition(".")[0]
            lines += ["", area] if lines else [area]
        word = paint(finding.level, f"{finding.level:4}")
        lines.append(f"  {word}  {finding.name}: {finding.sentence}")
        if finding.advice:
            lines.append(f"        → {finding.advice}")
    counts = (
        f"{sum(finding.level is level for finding in findings)} {level}"
        for level in reversed(ORDER)
    )
    return "\n".join([*lines, "", ", ".join(counts)])


def as_json(findings: Iterable[Finding]) -> str:
    """The findings for programs: an object with the worst `level` and the list of `findings`."""
    findings = list(findings)
    return json.dumps(
        {"level": worst(findings), "findings": [asdict(finding) for finding in findings]},
        indent=2,
        ensure_ascii=False,
    )
