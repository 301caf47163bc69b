"""A completion that does what the message says, line by line.

    say TEXT             says the text at once, and a line break
    words COUNT RATE     says "w0 w1 w2 …", so many a second
    words until NAME     says "w0 w1 w2 …", 40 a second, until a gate is open
    hold NAME            says nothing until a gate is open
    unicode COUNT RATE   says so many pieces of awkward Unicode, in no order that a test could guess
    markdown LENGTH RATE says Markdown of at least that length, so many tokens a second
    fail SENTENCE        ends with an error that people may read
    break                ends with an error that they may not
    anything else        is said back

A gate is open once the file CONVERSATION.NAME is in the folder GATES. Each call notes conversation
and message in the file CALLS, a line of JSON each, so that a test can count them.
"""

import asyncio
import itertools
import json
import os
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from graphql_app import CompletionError, Message

GATES = Path(os.environ.get("GATES", "."))
CALLS = Path(os.environ.get("CALLS", os.devnull))


async def complete(history: Sequence[Message]) -> AsyncIterator[str]:
    """Says what the last message orders."""
    conversation_id, order = history[-1].conversation_id, history[-1].content
    note([conversation_id, order])

    def is_open(gate: str) -> bool:
        return (GATES / f"{conversation_id}.{gate}").exists()

    for line in order.split("\n"):
        match line.split(" "):
            case ["say", *text]:
                yield " ".join(text) + "\n"
            case ["words", "until", gate]:
                async for word in paced(numbered(itertools.count()), 40):
                    yield word
                    if is_open(gate):
                        break
            case ["words", count, rate]:
                async for word in paced(numbered(range(int(count))), float(rate)):
                    yield word
            case ["hold", gate]:
                async for _ in paced(itertools.repeat(""), 50):
                    if is_open(gate):
                        break
            case ["unicode", count, rate]:
                async for piece in paced(awkward(int(count)), float(rate)):
                    yield piece
            case ["markdown", length, rate]:
                async for token in paced(tokens(article(int(length))), float(rate)):
                    yield token
            case ["fail", *sentence]:
                raise CompletionError("COMPLETION_FAILED", " ".join(sentence))
            case ["break"]:
                raise ValueError("a secret that no client may see")
            case _:
                yield line


def note(call: list[str]) -> None:
    with CALLS.open("a") as calls:
        calls.write(json.dumps(call) + "\n")


async def paced(pieces: Iterator[str], rate: float) -> AsyncIterator[str]:
    """So many pieces a second; one that is late does not move those after it."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number, piece in enumerate(pieces):
        await asyncio.sleep(max(0.0, begin + number / rate - loop.time()))
        yield piece


def numbered(numbers: Iterator[int] | range) -> Iterator[str]:
    return (f"w{number} " for number in numbers)


AWKWARD = (
    "plain ",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 ",
    "\U0001f44b\U0001f3fd ",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7 ",
    "e\u0301a\u0308o\u0302\u0323 ",
    "Z\u0351\u036b\u0343a\u0363\u0369l\u0308\u030ag\u0307\u0303o\u0352\u031b ",
    "\u05e9\u05dc\u05d5\u05dd \u200f\u0645\u0631\u062d\u0628\u0627\u200e ",
    "\u2067right to left\u2069 ",
    "\U0001d4d0\U0001d4d1 \U00020bb7 ",
    "\ufeff\u200b\u00ad\u2060 ",
    "tab\tand\ttab ",
    "line\r\n",
    "old line\r",
    "paragraph\u2029line\u2028",
    "wide\u3000\u00a0\u2003 ",
    "\ufffd\U0010ffff\ue000 ",
    "\x07\x1b[31m\x7f\x85 ",
    "<b>&amp;</b> ",
    "\u0e01\u0e33\u0e49 \u0915\u094d\u0937\u093f ",
    "\n\n",
)


def awkward(count: int) -> Iterator[str]:
    """Pieces that are cut between any two code points, also inside of what people see as one."""
    chance = random.Random(count)
    text = "".join(chance.choice(AWKWARD) for _ in range(count))
    begin = 0
    while begin < len(text):
        end = begin + chance.randint(1, 2 * len(text) // count)
        yield text[begin:end]
        begin = end


def tokens(text: str) -> Iterator[str]:
    """Pieces of about four characters, the length of a model's tokens."""
    return (text[begin : begin + 4] for begin in range(0, len(text), 4))


def article(length: int) -> str:
    """Markdown with all that a reply may contain."""
    sections: list[str] = []
    for number in itertools.count(1):
        sections.append(SECTION.format(number=number))
        if sum(map(len, sections)) >= length:
            return "".join(sections)
    raise AssertionError


SECTION = """\
## {number}. A queue that forgets nothing

A *reader* is a position, not a queue: whoever falls behind by `n` words gets them **all at \
once**, and the one after gets what is [left](https://example.com/{number}).

```python
def follow(log: list[str], position: int = {number}) -> Iterator[str]:
    while position < len(log):  # what is new, and only that
        yield log[position]
        position += 1
```

- First, it reads what there is.
- Then it waits for news:
  1. from the process itself, or
  2. from the database.

| store    | survives      | followers |
|----------|:-------------:|----------:|
| memory   | nothing       |     1,000 |
| SQLite   | a killed process |  {number} |

> Whoever waits for nothing is never late.

"""
