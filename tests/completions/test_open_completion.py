"""Completions by name."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from graphql_app.completions import ALLOWED, open_completion
from graphql_app.errors import ConfigurationError
from graphql_app.messages import Message, Role, Status

OWN = """
class Models:
    class small:
        async def complete(history):
            yield "small"

async def complete(history):
    yield "own"

async def coroutine(history):
    return "no"

def generator(history):
    yield "no"

text = "no"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, empty; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


async def said(name: str) -> str:
    return "".join([text async for text in open_completion(name, word_delay_seconds=0)([])])


@pytest.mark.parametrize("name", ["simulated", "echo"])
def test_the_shipped_ones_are_known_by_their_name(name: str) -> None:
    assert open_completion(name).__module__ == f"graphql_app.completions.{name}"


@pytest.mark.parametrize("name", ["simulated", "echo"])
async def test_the_shipped_ones_speak_at_the_pace_that_is_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: set[float] = set()

    async def sleep(seconds: float) -> None:
        waits.add(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    question = Message("m", "c", Role.USER, "One two", Status.DONE, datetime.now(UTC))
    complete = open_completion(name, word_delay_seconds=0.25)
    assert [text async for text in complete([question])]
    assert 0.25 in waits


async def test_an_attribute_of_a_module_in_the_current_folder_is_found(here: Path) -> None:
    (here / "my_model.py").write_text(OWN)
    assert await said("my_model:complete") == "own"


async def test_an_attribute_of_an_attribute_of_a_module_in_a_package_is_found(here: Path) -> None:
    (here / "my_package").mkdir()
    (here / "my_package" / "models.py").write_text(OWN)
    assert await said("my_package.models:Models.small.complete") == "small"


def test_the_current_folder_does_not_hide_what_is_installed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (here / "colorsys.py").write_text(OWN)
    with pytest.raises(ConfigurationError, match="has no attribute 'complete'"):
        open_completion("colorsys:complete")


@pytest.mark.parametrize(
    "name", ["", "Echo", "gpt", "my_model", "my_model:", ":complete", ":", "my.model"]
)
def test_a_name_of_another_form_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        open_completion(name)
    assert str(refusal.value) == f"completion: {name!r} is unknown; use {ALLOWED}."


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module:complete", "No module named 'no_such_module'"),
        ("my_model:missing", "module 'my_model' has no attribute 'missing'"),
        ("my_model:Models.missing", "type object 'Models' has no attribute 'missing'"),
        ("my_model:complete.", "has no attribute ''"),
        (".my_model:complete", "package"),
        ("broken:complete", "invalid syntax"),
        ("failing:complete", "no key"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_the_reason(
    here: Path, name: str, reason: str
) -> None:
    (here / "my_model.py").write_text(OWN)
    (here / "broken.py").write_text("def")
    (here / "failing.py").write_text("raise RuntimeError('no key')")
    with pytest.raises(ConfigurationError) as refusal:
        open_completion(name)
    assert str(refusal.value).startswith(f"completion: {name!r} cannot be imported: ")
    assert reason in str(refusal.value)


def test_what_cannot_be_called_is_refused(here: Path) -> None:
    (here / "my_model.py").write_text(OWN)
    with pytest.raises(ConfigurationError) as refusal:
        open_completion("my_model:text")
    assert str(refusal.value) == (f"completion: 'my_model:text' is not callable; use {ALLOWED}.")


@pytest.mark.parametrize("attribute", ["coroutine", "generator"])
def test_a_function_that_is_no_async_generator_is_refused(here: Path, attribute: str) -> None:
    (here / "my_model.py").write_text(OWN)
    with pytest.raises(ConfigurationError) as refusal:
        open_completion(f"my_model:{attribute}")
    assert str(refusal.value) == (
        f"completion: 'my_model:{attribute}' is no async generator function; "
        "write async def, and yield text."
    )
