"""What a server process holds when nobody asks anything of it, and whether that grows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.checker import Violation

WARM_UP = 1
"""How many looks come before pools, caches and compiled documents are what they will be."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a process held at a quiet moment, when no client was connected.

    Args:
        tasks: of asyncio.
    """

    memory_bytes: int
    files: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that a process holds, and how much more of it is no growth."""

    name: str
    of: Callable[[Size], int]
    slack: int


KINDS = (
    # What the allocator keeps differs by this much from look to look; a kilobyte kept for each
    # chunk, or thirty for each reply, would be more within ten minutes.
    Kind("bytes of memory", lambda size: size.memory_bytes, 8 * 1024 * 1024),
    # Pools of connections open some more when they are needed.
    Kind("files", lambda size: size.files, 12),
    Kind("tasks", lambda size: size.tasks, 12),
)


def grown(process: str, sizes: Sequence[Size]) -> Iterator[Violation]:
    """What grew: the least of the last third of the looks is above the most of the first third.

    What leaks is given back at no look; what is only needed now and then, at some.
    """
    looks = sizes[WARM_UP:]
    if len(looks) < 2:
        return
    third = max(1, len(looks) // 3)
    for kind in KINDS:
        before = max(map(kind.of, looks[:third]))
        after = min(map(kind.of, looks[-third:]))
        if after > before + kind.slack:
            yield Violation(
                "P9", process, f"it holds {after:,} {kind.name}, and held {before:,} before"
            )
