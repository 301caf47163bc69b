"""A completion whose answers are known beforehand, and which writes down what it does.

A message says how many words it wants, how many milliseconds lie between two of them, and a seed:
"40 25 7". The answer follows from that alone. `CHAOS_ANSWERS` names the file in which the
completion writes that it was called, what it says, and that it was closed; `CHAOS_PROCESS` is the
name of its process there.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Sequence
from functools import cache
from pathlib import Path

from graphql_app import Message
from tests.chaos.history import Called, Quit, Recorder, Said, now

ANSWERS_VARIABLE = "CHAOS_ANSWERS"
PROCESS_VARIABLE = "CHAOS_PROCESS"

WORDS = (
    "the", "answer", "survives", "naïve", "e\u0301tude", "Größe", "日本語", "文字化け", "한국어",
    "😀", "👩‍👩‍👧‍👦", "𝔘𝔫𝔦", "🇩🇪", "שלום", "مرحبا", "`code`", '{"a": "b\\n"}', "x" * 200,
)  # fmt: skip
SEPARATORS = (" ", " ", " ", "  ", "\n", "\n\n", "\t", "、", "")


def pieces(content: str) -> list[str]:
    """What the completion yields for a message, piece by piece."""
    count, _, seed = map(int, content.split())
    random_words = random.Random(seed)
    return [random_words.choice(WORDS) + random_words.choice(SEPARATORS) for _ in range(count)]


def answer(content: str) -> str:
    """The whole answer to a message."""
    return "".join(pieces(content))


async def complete(history: Sequence[Message]) -> AsyncGenerator[str, None]:
    """Answers the last message."""
    message = history[-1]
    recorder = _recorder()
    process, tasks = os.environ[PROCESS_VARIABLE], len(asyncio.all_tasks())
    recorder.add(Called(now(), process, message.id, tasks))
    pause_seconds = int(message.content.split()[1]) / 1000
    units = 0
    try:
        for piece in pieces(message.content):
            await asyncio.sleep(pause_seconds)
            units += len(piece.encode("utf-16-le")) // 2
            recorder.add(Said(now(), message.id, units))
            yield piece
    finally:
        recorder.add(Quit(now(), message.id))


@cache
def _recorder() -> Recorder:
    return Recorder(Path(os.environ[ANSWERS_VARIABLE]))
