"""A completion that says back what it is told, and notes in a file who was asked what."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from graphql_app import Message

NOTES = "NOTES"
"""The environment variable that names the file."""

WORD_DELAY_SECONDS = 0.02

COMPLETION = ("--completion", "tests.end_to_end.noted:complete")


async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    message = history[-1]
    _note(f"{message.id} {os.getpid()}\n")
    for word in re.findall(r"\S+\s*", message.content):
        await asyncio.sleep(WORD_DELAY_SECONDS)
        yield word


def _note(line: str) -> None:
    with Path(os.environ[NOTES]).open("a") as notes:  # Appended in one piece.
        notes.write(line)


def calls(notes: Path) -> list[tuple[str, int]]:
    """Each call so far: the message, and the process that answered it."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [(id, int(pid)) for id, pid in map(str.split, lines)]
