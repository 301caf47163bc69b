"""What was done to a chat, and what was seen of it: a list of events, each a line of JSON.

Times are seconds of the machine's monotonic clock, which all its processes share. A reply or a
list is seen at some moment between the beginning and the end of an observation.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias


class Way(StrEnum):
    """How a stream is opened."""

    SEND = "send"
    AGAIN = "again"
    """The client has sent the message already."""

    CONTENT = "content"
    """Resumes, as all below, with the text that the client has."""

    OFFSET = "offset"
    NOTHING = "nothing"
    WRONG = "wrong"
    """With a text that the client made up."""


class Ending(StrEnum):
    """How a stream ends."""

    FINISHED = "finished"
    """By `complete`, after a final status."""

    BARE = "bare"
    """By `complete`, before one."""

    REFUSED = "refused"
    """By an error message."""

    LOST = "lost"
    """With the connection."""

    LEFT = "left"
    """By the client."""


@dataclass(frozen=True, slots=True)
class Round:
    """What is attacked, and how. The first event."""

    store: str
    nemesis: str
    seed: int
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Drafted:
    """A message that will be sent, and each word of the answer that its completion gives."""

    message: str
    conversation: str
    content: str
    answer: str


# Faults


@dataclass(frozen=True, slots=True)
class Started:
    """A server process listens."""

    at: float
    process: str


@dataclass(frozen=True, slots=True)
class Killed:
    """A server process got SIGKILL."""

    at: float
    process: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """A server process got SIGTERM, and ended."""

    begin: float
    end: float
    process: str


@dataclass(frozen=True, slots=True)
class Paused:
    """A server process stood still."""

    begin: float
    end: float
    process: str


@dataclass(frozen=True, slots=True)
class Away:
    """Processes could not use the store; `cpu_seconds` is what each of them burned.

    `everybody` says that it concerned those too that were started meanwhile.
    """

    begin: float
    end: float
    everybody: bool
    cpu_seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Defect:
    """A process did what none may do: it died by itself, or logged a traceback."""

    process: str
    what: str


# Completions


@dataclass(frozen=True, slots=True)
class Called:
    """A completion was called, in a process that then had so many tasks."""

    at: float
    process: str
    message: str
    tasks: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """A completion is about to yield text; with it, it has said so many UTF-16 code units."""

    at: float
    message: str
    units: int


@dataclass(frozen=True, slots=True)
class Quit:
    """A completion ended or was closed."""

    at: float
    message: str


# Streams


@dataclass(frozen=True, slots=True)
class Opened:
    """A client that shows `content` asks for the reply to a message."""

    at: float
    stream: int
    client: str
    process: str
    how: str
    message: str
    content: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stream brought a chunk."""

    at: float
    stream: int
    reply: str
    offset: int
    text: str
    status: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Closed:
    """A stream ended."""

    at: float
    stream: int
    how: str
    code: str | None = None


# Requests


@dataclass(frozen=True, slots=True)
class Row:
    """A message as it was shown."""

    id: str
    conversation: str
    role: str
    content: str
    status: str
    error: str | None
    reply_to: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A client saw all messages of a conversation."""

    begin: float
    end: float
    client: str
    process: str
    conversation: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """A client asked to stop the reply to a message; `row` is the acknowledgement, if it came."""

    begin: float
    end: float
    client: str
    process: str
    message: str
    row: Row | None


@dataclass(frozen=True, slots=True)
class Cleared:
    """A client asked to clear a conversation."""

    begin: float
    end: float
    client: str
    process: str
    conversation: str
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """A request failed; the code is `timeout` or `lost` if there was no answer."""

    begin: float
    end: float
    process: str
    what: str
    code: str


# Windows


@dataclass(frozen=True, slots=True)
class WindowOpened:
    """A client subscribes to the events of a conversation."""

    at: float
    window: int
    process: str
    conversation: str


@dataclass(frozen=True, slots=True)
class WindowEvent:
    """An event came: all messages (a reset), or the one that changed."""

    at: float
    window: int
    reset: bool
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class WindowClosed:
    at: float
    window: int
    how: str


# The end


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing is attacked or sent any more, and every reply had its time to end."""

    at: float


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What a server shows of a copy of the store that was taken at a moment, its end torn off.

    `ended` says whether the leases of the processes that wrote it have run out there.
    """

    taken_at: float
    copy: str
    ended: bool
    rows: tuple[Row, ...]


Event: TypeAlias = (
    Round | Drafted
    | Started | Killed | Terminated | Paused | Away | Defect
    | Called | Said | Quit
    | Opened | Chunk | Closed
    | Listed | Stopped | Cleared | Failed
    | WindowOpened | WindowEvent | WindowClosed
    | Settled | Salvaged
)  # fmt: skip

KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in Event.__args__}


def now() -> float:
    return time.monotonic()


def to_line(event: Event) -> bytes:
    """One line, in ASCII: half a character survives as it came."""
    line = {"kind": type(event).__name__, "event": event}
    return json.dumps(line, default=asdict).encode() + b"\n"


def from_line(line: bytes) -> Event:
    found = json.loads(line)
    kind = KINDS[found["kind"]]
    values = found["event"]
    for name in ("rows", "row"):
        match values.get(name):
            case list(rows):
                values[name] = tuple(Row(**row) for row in rows)
            case dict(row):
                values[name] = Row(**row)
    return kind(**values)


def read_history(*files: Path) -> list[Event]:
    """The events of several files, one file after the other."""
    return [from_line(line) for file in files if file.exists() for line in _lines(file)]


def _opened(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from opened


class Recorder:
    """Writes events to a file that several processes may share; a line is written as a whole."""

    def __init__(self, file: Path) -> None:
        self._file = _opened(file)

    def turn_to(self, file: Path) -> None:
        """Writes what comes from now on to another file."""
        self.close()
        self._file = _opened(file)

    def add(self, event: Event) -> None:
        os.write(self._file, to_line(event))

    def close(self) -> None:
        os.close(self._file)
