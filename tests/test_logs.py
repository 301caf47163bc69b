"""Lines of the log: their two formats, and what is in none of them."""

import asyncio
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import orjson
import pytest

from graphql_app.errors import CompletionError, FencedError
from graphql_app.logs import FACT_LENGTH, WITHHELD, Facts, Format, Formatter, configuration, said
from graphql_app.masking import LINE_LENGTH

CANARY = "canary-71c2"


def record(
    text: str = "something happened",
    *,
    name: str = "graphql_app.chat",
    level: int = logging.INFO,
    error: BaseException | None = None,
    facts: dict[str, object] | None = None,
) -> logging.LogRecord:
    trace = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord(name, level, "", 0, text, None, trace)
    if facts is not None:
        made.__dict__.update(event=text, facts=facts)
    return made


def line(made: logging.LogRecord, **options: Any) -> dict[str, Any]:
    """What a line of JSON says."""
    text = Formatter(format="json", **options).format(made)
    assert "\n" not in text
    value: dict[str, Any] = json.loads(text)
    return value


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def failing(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def test_a_line_of_json_says_when_what_and_by_whom() -> None:
    made = record()
    made.created = 1_800_000_000.25
    assert line(made) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "info",
        "event": "something happened",
        "logger": "graphql_app.chat",
        "process": made.process,
    }


def test_a_line_for_people_has_the_time_the_level_and_the_event() -> None:
    shown = Formatter().format(record(level=logging.WARNING))
    assert re.fullmatch(r"\S+Z WARNING  something happened", shown)


def test_facts_are_entries_of_json_and_pairs_for_people() -> None:
    facts = {"reply": "r1", "duration": 0.5, "code": None, "words": "two words", "empty": ""}
    made = record("reply ended", facts=facts)
    assert {name: line(made).get(name) for name in facts} == facts
    assert (
        Formatter()
        .format(made)
        .endswith("reply ended reply=r1 duration=0.5 words='two words' empty=''")
    )


def test_where_others_configure_the_log_facts_are_a_text() -> None:
    assert str(Facts(reply="r1", code=None, duration=0.5)) == "reply='r1' duration=0.5"


@pytest.mark.parametrize("format", ["human", "json"])
@pytest.mark.parametrize(
    "text", ["two\nlines", "a\x1b[31mcolour", "a\rreturn", "a\u2028separator", "\u202eturned"]
)
def test_nobody_can_forge_a_line_or_move_a_terminal(format: Format, text: str) -> None:
    formatter = Formatter(format=format)
    for made in (record(text), record("event", facts={"id": text})):
        shown = formatter.format(made)
        assert len(shown.splitlines()) == 1
        assert not re.search("[\0-\x1f\x7f-\x9f\u2028-\u202e]", shown)


def test_long_texts_are_cut() -> None:
    assert len(line(record("word " * 1_000))["event"]) == LINE_LENGTH
    assert len(line(record("event", facts={"id": "x" * 10_000}))["id"]) == FACT_LENGTH


def test_half_a_character_is_replaced_since_strict_readers_refuse_the_line() -> None:
    text = Formatter(format="json").format(record("event", facts={"id": "\ud83d!é\n", "n": 2**70}))
    assert orjson.loads(text)["id"] == "\ufffd!é"


@pytest.mark.parametrize("format", ["human", "json"])
def test_no_secret_is_in_a_line(monkeypatch: pytest.MonkeyPatch, format: Format) -> None:
    monkeypatch.setenv("SOME_API_KEY", "correct-horse-1")
    formatter = Formatter(format=format, secrets=["battery-staple", "short"], content=True)
    text = "correct-horse-1 battery-staple sk-abcdefgh12345678"
    for each in (*text.split(), text):
        for made in (
            record(each),
            record("event", facts={"id": each}),
            record(error=raised(RuntimeError(each))),
        ):
            shown = formatter.format(made)
            assert "***" in shown
            assert not re.search("horse|staple|abcdefgh", shown)


# Exceptions.


def test_a_traceback_is_a_string_in_json_and_lines_for_people() -> None:
    made = record(error=raised(FencedError("the lease is lost")))
    shown: str = line(made)["exception"]
    assert shown.startswith("Traceback (most recent call last):\n  File ")
    assert "in raised" in shown
    assert Formatter().format(made).endswith("\n" + shown)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"cannot answer {CANARY}"),
        TypeError(f"cannot answer {CANARY}"),
        KeyError(CANARY),
        OSError(f"cannot answer {CANARY}"),
        ImportError(f"cannot answer {CANARY}"),
        ExceptionGroup(CANARY, [ValueError(CANARY), ValueError(CANARY)]),
        CompletionError("COMPLETION_FAILED", CANARY),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("format", ["human", "json"])
def test_what_an_exception_says_is_withheld_unless_told(format: Format, error: Exception) -> None:
    made = record(error=raised(error))
    shown = Formatter(format=format).format(made)
    assert CANARY not in shown
    assert type(error).__name__ in shown
    assert WITHHELD in shown
    assert CANARY in Formatter(format=format, content=True).format(made)


def test_neither_causes_nor_contexts_nor_notes_nor_groups_say_what_is_withheld() -> None:
    first = raised(ValueError(CANARY))
    first.add_note(CANARY)
    second = RuntimeError(CANARY)
    second.__cause__ = BaseExceptionGroup(CANARY, [first])
    third = KeyError(CANARY)
    third.__context__ = raised(second)
    shown = line(record(error=raised(third)))["exception"]
    assert CANARY not in shown
    assert [shown.count(name) for name in ("ValueError", "RuntimeError", "KeyError")] == [1, 1, 1]


def test_a_ring_of_causes_has_an_end() -> None:
    one, other = raised(ValueError("a")), raised(KeyError("b"))
    one.__cause__, other.__cause__ = other, one
    assert len(line(record(error=one))["exception"]) < 10_000


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda: len(5), "TypeError: object of type 'int' has no len()"),  # type: ignore[arg-type]
        (lambda: "a".missing, "AttributeError: 'str' object has no attribute 'missing'"),  # type: ignore[attr-defined]
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (
            lambda: Path("/no/such").read_text(),
            "FileNotFoundError: [Errno 2] No such file or directory",
        ),
        (lambda: int(CANARY), f"ValueError: {WITHHELD}"),
        (lambda: dict[str, int]()[CANARY], f"KeyError: {WITHHELD}"),
        (lambda: CANARY.encode("no"), f"LookupError: {WITHHELD}"),
    ],
)
def test_what_the_interpreter_and_the_system_say_is_told_where_it_has_no_values(
    call: Callable[[], object], shown: str
) -> None:
    assert said(failing(call)) == shown


def test_of_an_error_of_the_system_that_somebody_made_its_number_is_told() -> None:
    error = raised(OSError(5, f"cannot answer {CANARY}"))
    assert said(error) == "OSError: [Errno 5] Input/output error"


@pytest.mark.parametrize("kind", [TypeError, IndexError, ImportError, OverflowError])
async def test_what_somebody_put_into_a_future_is_withheld(kind: type[Exception]) -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(kind(CANARY))

    async def wait() -> None:
        await future

    for error in (await asyncio.gather(wait(), return_exceptions=True), [kind(CANARY)]):
        assert isinstance(error[0], kind)
        assert said(error[0]) == f"{kind.__name__}: {WITHHELD}"


def test_what_was_thrown_into_a_generator_is_withheld() -> None:
    def generator() -> Generator[None, None, None]:
        yield

    began = generator()
    next(began)
    assert said(failing(lambda: began.throw(TypeError(CANARY)))) == f"TypeError: {WITHHELD}"


@pytest.mark.parametrize(
    "call", [lambda: getattr(asyncio, CANARY), lambda: __import__(CANARY)], ids=["get", "import"]
)
def test_a_name_that_is_not_in_the_source_is_withheld(call: Callable[[], object]) -> None:
    assert said(failing(call)).endswith(f": {WITHHELD}")


def test_what_our_own_code_says_is_told() -> None:
    from graphql_app.settings import read_settings

    error = failing(lambda: read_settings({"port": -1}))
    assert said(error).startswith("graphql_app.errors.ConfigurationError: port: ")


def test_an_exception_that_cannot_be_shown_is_no_obstacle() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert said(raised(Broken("x")), content=True).endswith("(it cannot be shown)")


async def test_asyncio_does_not_tell_what_a_task_has_raised_or_returned() -> None:
    async def fail() -> None:
        raise RuntimeError(CANARY)

    task = asyncio.create_task(fail())
    await asyncio.wait({task})
    text = f"Task exception was never retrieved\nfuture: {task!r}"
    assert CANARY in text
    for made in (record(text, name="asyncio"), record(f"Executing {task!r} took", name="asyncio")):
        assert CANARY not in line(made)["event"]
    assert isinstance(task.exception(), RuntimeError)


# The whole process.

TALKING = """
import asyncio, logging, sys, threading, warnings
from graphql_app import logs

logs.set_up(sys.argv[1], secrets=["correct-horse"])
logging.getLogger("some.library").warning("of a library: correct-horse")
logging.getLogger("some.library").info("not worth a line")
logging.getLogger("uvicorn.error").error("of uvicorn")
logging.getLogger("graphql_app.chat").info("of ours")
logging.getLogger("some.library").warning("%d", "canary")
warnings.warn("of Python", RuntimeWarning)
warnings.warn("input_value='canary'\\n")

class Finalised:
    def __del__(self):
        raise ValueError("canary")

def fail():
    raise ValueError("canary")

Finalised()
thread = threading.Thread(target=fail)
thread.start()
thread.join()

async def main():
    task = asyncio.create_task(asyncio.sleep(0))
    asyncio.get_running_loop().call_soon(fail)
    await task
    await asyncio.sleep(0)

asyncio.run(main())
fail()
"""


@pytest.mark.parametrize("format", ["human", "json"])
def test_all_that_a_process_says_are_lines_of_its_log(format: Format) -> None:
    process = subprocess.run(
        [sys.executable, "-W", "always", "-c", TALKING, format],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert process.stdout == ""
    assert "canary" not in process.stderr
    assert "horse" not in process.stderr
    assert "not worth a line" not in process.stderr
    for text in (
        "of a library: ***",
        "of uvicorn",
        "of ours",
        "RuntimeWarning: of Python",
        f"UserWarning: {WITHHELD}",
        "some.library: no line can be made at <string>:10",
        "Exception in callback",
    ):
        assert process.stderr.count(text) == 1
    assert process.stderr.count("nobody has caught this") == 3
    assert process.stderr.count(f"ValueError: {WITHHELD}") == 4
    if format == "json":
        lines = [json.loads(text) for text in process.stderr.splitlines()]
        assert [each["level"] for each in lines].count("critical") == 3
        assert all({"time", "level", "event", "logger", "process"} <= each.keys() for each in lines)


def test_the_log_of_this_process_is_not_configured_by_asking_how() -> None:
    before = logging.getLogger().handlers[:]
    configuration("json")
    assert logging.getLogger().handlers == before
