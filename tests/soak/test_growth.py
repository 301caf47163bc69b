"""What counts as growth, and what does not."""

from dataclasses import replace

import pytest

from tests.soak.growth import Size, grown

USUAL = Size(memory_bytes=90_000_000, files=30, tasks=9)


def sizes(**values: list[int]) -> list[Size]:
    [(name, looks)] = values.items()
    return [replace(USUAL, **{name: value}) for value in looks]


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("memory_bytes", [90_000_000 + 4_000_000 * minute for minute in range(10)]),
        ("files", [30 + 6 * minute for minute in range(10)]),
        ("tasks", [9 + 100 * minute for minute in range(10)]),
        ("tasks", [9, 9, 400]),
    ],
)
def test_what_grows_from_look_to_look_is_convicted(name: str, looks: list[int]) -> None:
    [violation] = grown("redis p0", sizes(**{name: looks}))
    assert (violation.promise, violation.subject) == ("P9", "redis p0")


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("memory_bytes", [70_000_000, *([95_000_000, 99_000_000, 93_000_000] * 3)]),
        ("files", [20, *([31, 39, 28] * 3)]),
        ("tasks", [9, 14, 9, 12, 9, 300, 9]),
        ("tasks", [9, 400]),
    ],
    ids=["memory that comes and goes", "a pool", "one busy moment", "one look after the first"],
)
def test_what_comes_and_goes_is_not(name: str, looks: list[int]) -> None:
    assert list(grown("redis p0", sizes(**{name: looks}))) == []
