"""What the chat is made of: messages, pieces of replies, and the arithmetic of offsets.

Everything here is frozen and does no I/O. Offsets and lengths count UTF-16 code units, what
JavaScript's `length` counts; a text is never cut inside a code point.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, TypeAlias


class Role(StrEnum):
    USER = "USER"
    ASSISTANT = "ASSISTANT"


class Status(StrEnum):
    """The life of a reply: STREAMING, then exactly one of the others, for good."""

    STREAMING = "STREAMING"
    DONE = "DONE"
    STOPPED = "STOPPED"
    ERROR = "ERROR"

    @property
    def is_final(self) -> bool:
        return self is not Status.STREAMING


class ReplyErrorCode(StrEnum):
    """Why a reply ended as ERROR."""

    COMPLETION_FAILED = "COMPLETION_FAILED"
    COMPLETION_TIMEOUT = "COMPLETION_TIMEOUT"
    REPLY_TOO_LONG = "REPLY_TOO_LONG"
    PRODUCER_LOST = "PRODUCER_LOST"
    SERVER_SHUTDOWN = "SERVER_SHUTDOWN"
    COMPLETION_REFUSED = "COMPLETION_REFUSED"
    COMPLETION_RATE_LIMITED = "COMPLETION_RATE_LIMITED"
    COMPLETION_QUOTA_EXCEEDED = "COMPLETION_QUOTA_EXCEEDED"
    COMPLETION_UNAUTHORIZED = "COMPLETION_UNAUTHORIZED"
    COMPLETION_MODEL_NOT_FOUND = "COMPLETION_MODEL_NOT_FOUND"
    COMPLETION_INPUT_TOO_LONG = "COMPLETION_INPUT_TOO_LONG"
    COMPLETION_UNREACHABLE = "COMPLETION_UNREACHABLE"
    COMPLETION_BROKEN_OFF = "COMPLETION_BROKEN_OFF"

    @classmethod
    def read(cls, code: str) -> "ReplyErrorCode":
        """The code of that name; COMPLETION_FAILED for one that a later version may know."""
        try:
            return cls(code)
        except ValueError:
            return cls.COMPLETION_FAILED


@dataclass(frozen=True, slots=True)
class ReplyError:
    """Why a reply ended early; the message is shown to people."""

    code: ReplyErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Ref:
    """Names a message. Ids are unique for each owner, not across owners."""

    owner: str
    id: str


@dataclass(frozen=True, slots=True)
class ConversationRef:
    """Names a conversation of one owner."""

    owner: str
    id: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply took; None is what nobody knows.

    A completion says the model and the tokens, as its provider counts them; the producer measures
    the times, in seconds from the completion's call: to its first text, and to its end.
    """

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    time_to_first_token: float | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is at one moment; `error` is set exactly when status is ERROR."""

    id: str
    conversation_id: str
    role: Role
    content: str
    status: Status
    created_at: datetime
    reply_to_id: str | None = None
    error: ReplyError | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation that has messages; its title is how its first message begins."""

    id: str
    title: str
    created_at: datetime
    updated_at: datetime


class Chunk(NamedTuple):
    """A piece of a reply. A client keeps the text as content[:offset] + text, in UTF-16 units."""

    # A tuple, since it is made for each word and reader, and takes a fifth of the time.

    message_id: str
    offset: int
    text: str
    status: Status
    error: ReplyError | None = None


@dataclass(frozen=True, slots=True)
class MessagesReset:
    """Start over: these are the newest messages of the conversation, oldest first."""

    conversation_id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class MessageChanged:
    """A message was added, or reached its final status."""

    message: Message


ConversationEvent: TypeAlias = MessagesReset | MessageChanged


def utf16_length(text: str) -> int:
    """How many UTF-16 code units `text` has; a lone surrogate counts as one."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def utf16_tail(text: str, offset: int) -> tuple[int, str]:
    """What follows `offset` in `text`, and the offset where that really begins.

    They differ where the offset is beyond the end (then it is the end), or inside a surrogate
    pair (then it is the start of the code point).
    """
    if text.isascii():
        return min(offset, len(text)), text[offset:]
    units = text.encode("utf-16-le")
    offset = min(offset, len(units) // 2)
    if _splits_pair(units, offset):
        offset -= 1
    return offset, units[2 * offset :].decode("utf-16-le")


def utf16_head(text: str, length: int) -> str:
    """The whole code points of `text` that fit into `length` UTF-16 code units."""
    if text.isascii():
        return text[:length]
    units = text.encode("utf-16-le")
    if _splits_pair(units, length):
        length -= 1
    return units[: 2 * length].decode("utf-16-le")


def _splits_pair(units: bytes, offset: int) -> bool:
    """Whether the code unit at `offset` is the second half of a surrogate pair."""
    return 2 * offset < len(units) and 0xDC <= units[2 * offset + 1] <= 0xDF


def common_prefix(one: str, other: str) -> str:
    """The longest beginning, in whole code points, that two texts share."""
    if one.startswith(other):
        return other
    # Comparing slices runs at memory speed, so halving beats walking from character to character.
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return one[:low]


def scalar_text(text: str) -> str:
    """`text` with U+FFFD for each NUL and lone surrogate, which stores and encoders refuse.

    Two halves of one surrogate pair become the character that they mean.
    """
    if text.isascii():
        return text.replace("\0", "\ufffd")
    units = text.encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "replace").replace("\0", "\ufffd")


def is_scalar_text(text: str) -> bool:
    """Whether `text` has neither NUL nor lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
