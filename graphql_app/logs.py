"""The log: what its lines look like, and what must not be in them.

All that the process says goes through one formatter: our own loggers, uvicorn's, those of
libraries, warnings, and what nobody has caught. A line is for people, or JSON; either way it is one
line but for a traceback, which JSON has as a string.

What users wrote and models said is not logged. Ours never log it; but an exception can hold it, and
that of a completion or a driver often does. So a traceback has all frames, and of what the
exceptions themselves say only what cannot come from a conversation: see `said`. Keys and tokens are
masked wherever they turn up.
"""

import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from logging.config import dictConfig
from opcode import opmap
from time import gmtime, strftime
from types import TracebackType
from typing import Any, Literal, TextIO, TypeAlias

import orjson
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict

from graphql_app.masking import (
    SHORTEST_SECRET,
    looks_like_a_key,
    masked,
    masked_traceback,
    secrets_in,
)

logger = logging.getLogger(__name__)

Format: TypeAlias = Literal["human", "json"]

FACT_LENGTH = 128
"""How much of a text one fact has, in code points."""

WITHHELD = "(withheld; GRAPHQL_APP_LOG_CONTENT=true shows it)"
"""What stands for what an exception says."""

LONGEST_CHAIN = 10
"""How many exceptions of a chain, or of a group, are told."""

PLAIN = re.compile(r"[\w./-]{1,128}", re.ASCII)

UNQUOTED = re.compile(r"[^\s\"'=]+")

WARNED = re.compile(r"(?s)\A(?P<where>.{0,4096}?:\d+: )(?P<category>\w+): .*")
"""A line of Python's warnings, with the line of the source behind it."""

OF_THE_INTERPRETER = frozenset(
    {
        "BytesWarning",
        "DeprecationWarning",
        "EncodingWarning",
        "FutureWarning",
        "ImportWarning",
        "PendingDeprecationWarning",
        "ResourceWarning",
        "RuntimeWarning",
        "SyntaxWarning",
    }
)
"""Warnings that are about code; others may be about what is worked on."""

INTERPRETERS = frozenset(
    {
        AttributeError,
        ImportError,
        IndexError,
        ModuleNotFoundError,
        NameError,
        OverflowError,
        RecursionError,
        TypeError,
        UnboundLocalError,
        ZeroDivisionError,
    }
)
"""What the interpreter raises by itself, with names of types and attributes, and no values."""

NAMING = (AttributeError, ImportError)
"""Those of them that say a name; it is in the source, unless a function was called with it."""

OF_THE_SYSTEM = frozenset({"socket", "ssl"})
"""Modules whose errors have numbers of their own."""


def _codes(*names: str) -> frozenset[int]:
    return frozenset(opmap[name] for name in names if name in opmap)


RAISING = _codes("RAISE_VARARGS")
WAITING = _codes(
    *("CLEANUP_THROW", "END_SEND", "RESUME", "SEND", "YIELD_VALUE", "JUMP_BACKWARD_NO_INTERRUPT")
)
"""Where an exception comes from that somebody else put into a future, or threw into a generator."""

CALLING = _codes("CALL", "CALL_FUNCTION_EX", "CALL_KW", "PRECALL")

COLOURS = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 91}

SYSTEM = ""
OURS = __name__.partition(".")[0]

_content_is_shown = False


class Facts(dict[str, object]):
    """What is told of an event beside its name; for a log that others configured, as a text."""

    def __str__(self) -> str:
        return " ".join(f"{name}={fact!r}" for name, fact in self.items() if fact is not None)


def tell(
    logger: logging.Logger,
    event: str,
    facts: Mapping[str, object],
    *,
    level: int = logging.INFO,
    error: BaseException | None = None,
) -> None:
    """Logs an event and its facts; None is no fact.

    Args:
        event: a few fixed words.
        facts: texts are masked and cut.
        error: why, if something failed; its traceback is logged.
    """
    if logger.isEnabledFor(level):
        extra = {"event": event, "facts": facts}
        logger.log(level, "%s: %s", event, Facts(facts), extra=extra, exc_info=error)


def content_is_shown() -> bool:
    """Whether the log, and traces, may have what users wrote and what was answered."""
    return _content_is_shown


def configuration(
    format: Format = "human", *, content: bool = False, secrets: Iterable[str] = ()
) -> dict[str, Any]:
    """How `logging` is to be configured, for this process."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "default": {
                "()": Formatter,
                "format": format,
                "content": content,
                "secrets": tuple(secrets),
                "colours": format == "human"
                and sys.stderr.isatty()
                and "NO_COLOR" not in os.environ,
            }
        },
        "handlers": {
            "default": {
                "()": Handler,
                "formatter": "default",
            }
        },
        "root": {"handlers": ["default"], "level": "WARNING"},
        "loggers": {"graphql_app": {"level": "INFO"}},
    }


def set_up(format: Format = "human", *, content: bool = False, secrets: Iterable[str] = ()) -> None:
    """Makes all that this process says from now on lines of the log.

    Args:
        content: what exceptions say is logged, too.
        secrets: what is masked beside the environment's.
    """
    global _content_is_shown
    _content_is_shown = content
    dictConfig(configuration(format, content=content, secrets=secrets))
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, None)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, None)


def _uncaught(
    kind: type[BaseException], error: BaseException | None, _: TracebackType | None
) -> None:
    if isinstance(error, KeyboardInterrupt):
        return
    logger.critical("nobody has caught this", exc_info=error or kind())


class Handler(logging.StreamHandler[TextIO]):
    """Writes lines to standard error, also of what cannot be made a line of.

    Python would print the arguments that do not fit their text.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if isinstance(error, OSError):  # Nobody reads, or the disk is full.
            return
        where = record.name, record.pathname, record.lineno
        made = logging.LogRecord(
            __name__, logging.ERROR, "", 0, "%s: no line can be made at %s:%d", where, None
        )
        with suppress(Exception):
            self.stream.write(self.format(made) + self.terminator)
            self.flush()


class Formatter(ProcessorFormatter):
    """Makes a line of a record."""

    def __init__(
        self,
        *,
        format: Format = "human",
        content: bool = False,
        secrets: Iterable[str] = (),
        colours: bool = False,
    ) -> None:
        self._content = content
        self._colours = colours
        # Read once: the environment takes longer than all the rest of a line.
        known = {*secrets_in(os.environ), *secrets}
        self._secrets = {
            f"{number}_SECRET": secret
            for number, secret in enumerate(sorted(known))
            if len(secret) >= SHORTEST_SECRET
        }
        self._second, self._shown_second = -1, ""
        self._render = self._json if format == "json" else self._human
        super().__init__(processors=[self._line, self._render])

    def format(self, record: logging.LogRecord) -> str:
        if "facts" in record.__dict__ and not record.exc_info:
            # Ours, one for each operation: the way around takes half as long.
            line = self._line(None, "", {"_record": record})
            return self._render(None, "", line)
        return super().format(record)

    def _line(self, _: object, __: str, event: EventDict) -> EventDict:
        """What a line has, in the order in which it is shown."""
        record: logging.LogRecord = event["_record"]
        facts: Mapping[str, object] = record.__dict__.get("facts") or {}
        said = record.__dict__["event"] if facts else self._said(record.name, event["event"])
        line: EventDict = {
            "time": self._time(record.created),
            "level": record.levelname.lower(),
            "event": said,
            "logger": record.name,
            "process": record.process,
        }
        for name, fact in facts.items():
            if fact is not None:
                line[name] = self._fact(fact)
        if error := event.get("exc_info"):
            line["exception"] = self._exception(error)
        return line

    def _said(self, name: str, text: str) -> str:
        if name == "asyncio":
            # It shows tasks with their results and exceptions, and callbacks with their arguments.
            text = re.sub(r"[<(].*[>)]", "…", text.partition("\n")[0])
        elif name == "py.warnings" and not self._content:
            text = WARNED.sub(_withheld, text, count=1)
        return masked(text, self._secrets)

    def _fact(self, fact: object) -> object:
        if isinstance(fact, int | float):
            return fact
        text = fact if isinstance(fact, str) else str(fact)
        if (
            PLAIN.fullmatch(text)
            and not looks_like_a_key(text)
            and not any(secret in text for secret in self._secrets.values())
        ):
            return text
        text = masked(text, self._secrets)
        return text if len(text) <= FACT_LENGTH else text[: FACT_LENGTH - 1] + "…"

    def _exception(self, error: Any) -> str:
        value = error[1] if isinstance(error, tuple) else error
        if not isinstance(value, BaseException):
            return ""
        return masked_traceback("\n".join(_told(value, self._content)), self._secrets)

    def _time(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._second, self._shown_second = second, strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        return f"{self._shown_second}.{int((created - second) * 1000):03}Z"

    def _json(self, _: object, __: str, line: EventDict) -> str:
        try:
            return orjson.dumps(line).decode()
        except TypeError:  # A number beyond 64 bits.
            return json.dumps(line)

    def _human(self, _: object, __: str, line: EventDict) -> str:
        level = f"{line['level'].upper():8}"
        if self._colours:
            level = f"\x1b[{COLOURS.get(level.strip(), 0)}m{level}\x1b[0m"
        said = [line.pop("time"), level, line.pop("event")]
        del line["level"], line["logger"], line["process"]
        exception = line.pop("exception", None)
        said += (f"{name}={_shown(fact)}" for name, fact in line.items())
        text = " ".join(said)
        return text if exception is None else f"{text}\n{exception}"


def _withheld(warned: re.Match[str]) -> str:
    is_of_code = warned["category"] in OF_THE_INTERPRETER
    return warned[0] if is_of_code else f"{warned['where']}{warned['category']}: {WITHHELD}"


def _shown(fact: object) -> str:
    text = str(fact)
    return text if UNQUOTED.fullmatch(text) else repr(text)


def said(error: BaseException, *, content: bool | None = None) -> str:
    """An exception's class, and what it says unless that could come from a conversation.

    It is shown if our own code said it, or the interpreter, or the system; or if `content` (as the
    log is set up, if not said) allows everything.
    """
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    if _content_is_shown if content is None else content:
        text = _text(error)
    elif isinstance(error, OSError) and error.strerror and error.errno:
        is_genuine = kind.__module__ in OF_THE_SYSTEM or _origin(error) == SYSTEM
        # Who raises one by himself may say anything.
        reason = error.strerror if is_genuine else os.strerror(error.errno)
        text = f"[Errno {error.errno}] {reason}"
    elif _is_without_content(error):
        text = _text(error)
    else:
        text = WITHHELD
    return f"{name}: {text}" if text else name


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(it cannot be shown)"


def _is_without_content(error: BaseException) -> bool:
    if not error.args:
        return True
    origin = _origin(error)
    if origin == SYSTEM:
        return type(error) in INTERPRETERS
    return origin == OURS


def _origin(error: BaseException) -> str | None:
    """The package whose code raised an exception; SYSTEM: none did, but the interpreter, or what
    it called; None: nobody knows."""
    at = error.__traceback__
    if at is None:
        return None
    while at.tb_next is not None:
        at = at.tb_next
    instructions, position = at.tb_frame.f_code.co_code, at.tb_lasti
    instruction = instructions[position] if 0 <= position < len(instructions) else None
    if instruction in RAISING:
        return str(at.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
    if instruction is None or instruction in WAITING:
        return None
    if instruction in CALLING and isinstance(error, NAMING):
        return None
    return SYSTEM


def _told(error: BaseException, content: bool) -> Iterator[str]:
    """A traceback's lines: the first cause first, as Python shows it."""
    chain: list[tuple[BaseException, str]] = []
    each: BaseException | None = error
    link = ""
    while each is not None and len(chain) < LONGEST_CHAIN:
        chain.append((each, link))
        if each.__cause__ is not None:
            each, link = each.__cause__, "which was the cause of"
        elif each.__suppress_context__:
            break
        else:
            each, link = each.__context__, "during whose handling came"
    for each, link in reversed(chain):
        yield "Traceback (most recent call last):"
        for frame in traceback.format_tb(each.__traceback__):
            yield frame.rstrip("\n")
        yield said(each, content=content)
        if isinstance(each, BaseExceptionGroup):
            for number, part in enumerate(each.exceptions[:LONGEST_CHAIN], 1):
                yield f"  part {number}:"
                for line in _told(part, content):
                    yield "    " + line.replace("\n", "\n    ")
        if link:
            yield f"\n{link}\n"
