"""Completions by name."""

import ast
import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.providers import infer_provider_class

from graphql_app import completions
from graphql_app.completions import ALLOWED, PROVIDERS, open_completion
from graphql_app.completions.model import RENAMED, ModelCompletion
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


OBJECTS = """
import functools
from collections.abc import AsyncIterator

async def complete(history, word="own"):
    yield word

def unchanged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper

wrapped = unchanged(complete)
partial = functools.partial(complete, word="own")

def returning(history) -> "AsyncIterator[str]":
    return complete(history)

class Model:
    async def __call__(self, history):
        yield "own"

    async def method(self, history):
        yield "own"

    @staticmethod
    async def static(history):
        yield "own"

    def returning(self, history) -> AsyncIterator[str]:
        return complete(history)

model = Model()
partial_model = functools.partial(model)
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
    complete = open_completion(name, word_delay_seconds=0)
    return "".join([str(text) async for text in complete([])])


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
        f"completion: 'my_model:{attribute}' is no async generator function; write async def, and "
        "yield text. A function that returns an async iterator says so: -> AsyncIterator[str]."
    )


@pytest.mark.parametrize("name", ["json:loads", "os:system", "asyncio:sleep", "operator:add"])
def test_what_the_standard_library_has_is_no_completion(name: str) -> None:
    assert f"{name!r} is no async generator function" in refusal_of(name)


@pytest.mark.parametrize("name", ["pydantic_ai:Agent", "json:JSONDecoder"])
def test_a_class_is_no_completion(name: str) -> None:
    assert refusal_of(name) == (
        f"completion: {name!r} is a class; give the name of an object that is one of it."
    )


@pytest.mark.parametrize(
    "attribute",
    [
        "model",
        "model.method",
        "model.static",
        "partial",
        "partial_model",
        "wrapped",
        "returning",
        "model.returning",
    ],
)
async def test_all_that_returns_an_async_iterator_is_a_completion(
    here: Path, attribute: str
) -> None:
    (here / "my_objects.py").write_text(OBJECTS)
    assert await said(f"my_objects:{attribute}") == "own"


# Models.

SECRET = "sk-0123456789abcdef"


@pytest.fixture
def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No provider's variable is set."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL", "_TOKEN", "_ENDPOINT")):
            monkeypatch.delenv(name)


def refusal_of(name: str) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        open_completion(name)
    return str(refusal.value)


@pytest.mark.usefixtures("without_keys")
class TestAModel:
    @pytest.mark.parametrize(
        ("name", "variable", "kind", "address"),
        [
            (
                "openai:gpt-5-mini",
                "OPENAI_API_KEY",
                "OpenAIResponsesModel",
                "https://api.openai.com/v1/",
            ),
            (
                "openai-chat:gpt-5-mini",
                "OPENAI_API_KEY",
                "OpenAIChatModel",
                "https://api.openai.com/v1/",
            ),
            (
                "anthropic:claude-sonnet-5",
                "ANTHROPIC_API_KEY",
                "AnthropicModel",
                "https://api.anthropic.com",
            ),
            (
                "openrouter:any/model:free",
                "OPENROUTER_API_KEY",
                "OpenRouterModel",
                "https://openrouter.ai/api/v1/",
            ),
        ],
    )
    def test_is_known_by_provider_and_name_and_needs_its_key(
        self, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, kind: str, address: str
    ) -> None:
        assert variable in refusal_of(name)
        assert refusal_of(name).startswith(f"completion: {name!r} needs {variable}")
        monkeypatch.setenv(variable, "")
        assert variable in refusal_of(name)
        monkeypatch.setenv(variable, SECRET)
        model = model_of(name)
        assert (type(model).__name__, model.base_url) == (kind, address)
        assert model.model_name == name.partition(":")[2]

    def test_at_another_address_needs_no_key_and_speaks_chat_completions(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")
        for name in ("openai:llama", "openai-chat:llama"):
            model = model_of(name)
            assert type(model).__name__ == "OpenAIChatModel"
            assert model.base_url == "http://127.0.0.1:8080/v1/"
        assert type(model_of("openai-responses:llama")).__name__ == "OpenAIResponsesModel"

    def test_at_an_address_of_openai_speaks_what_openai_prefers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        monkeypatch.setenv("OPENAI_BASE_URL", "https://eu.api.openai.com/v1")
        assert type(model_of("openai:gpt-5-mini")).__name__ == "OpenAIResponsesModel"

    def test_of_ollama_needs_only_its_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert refusal_of("ollama:qwen3:8b") == (
            "completion: 'ollama:qwen3:8b' needs OLLAMA_BASE_URL in the environment."
        )
        monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:11434/v1")
        assert model_of("ollama:qwen3:8b").model_name == "qwen3:8b"

    @pytest.mark.parametrize(
        ("name", "package", "extra"),
        [
            ("groq:llama", "groq", "groq"),
            ("google:gemini", "google.genai", "google"),
            ("google-gla:gemini", "google.genai", "google"),
            ("google-vertex:gemini", "google.genai", "google"),
        ],
    )
    def test_whose_package_is_missing_says_how_to_get_it(
        self, monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        assert refusal_of(name) == (
            f"completion: {name!r} needs the package of its provider: "
            f"pip install 'pydantic-ai-slim[{extra}]'."
        )

    @pytest.mark.parametrize("name", ["openai:gpt-5-mini", "google-gla:x", "gateway/openai:x"])
    def test_without_pydantic_ai_says_how_to_get_it(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setitem(sys.modules, "pydantic_ai", None)
        assert refusal_of(name) == (
            f"completion: {name!r} needs pydantic-ai: pip install 'graphql-app[llm]'."
        )

    def test_of_a_provider_that_only_embeds_is_refused(self) -> None:
        assert refusal_of("sentence-transformers:all-MiniLM").endswith(
            "cannot be used: Unknown model: sentence-transformers:all-MiniLM."
        )

    def test_comes_before_a_module_of_the_same_name(self, here: Path) -> None:
        (here / "ollama.py").write_text(OWN)
        assert "OLLAMA_BASE_URL" in refusal_of("ollama:complete")

    async def test_does_not_hide_a_module_below_its_name(self, here: Path) -> None:
        (here / "ollama").mkdir()
        (here / "ollama" / "mine.py").write_text(OWN)
        assert await said("ollama.mine:complete") == "own"

    def test_of_no_provider_is_refused_with_those_that_there_are(self) -> None:
        refusal = refusal_of("opnai:gpt-5-mini")
        assert refusal.startswith(
            "completion: 'opnai:gpt-5-mini' cannot be imported: "
            "ModuleNotFoundError: No module named 'opnai'; the providers of models are alibaba, "
        )
        assert " ollama, openai, " in refusal


def test_the_providers_are_those_that_pydantic_ai_knows() -> None:
    tree = ast.parse(inspect.getsource(infer_provider_class))
    known = {
        value.value.value
        for case in ast.walk(tree)
        if isinstance(case, ast.match_case)
        for value in ast.walk(case.pattern)
        if isinstance(value, ast.MatchValue) and isinstance(value.value, ast.Constant)
    }
    assert known | RENAMED.keys() == PROVIDERS


def test_a_provider_that_is_new_in_pydantic_ai_is_known_too(
    monkeypatch: pytest.MonkeyPatch, without_keys: None
) -> None:
    monkeypatch.setattr(completions, "PROVIDERS", PROVIDERS - {"deepseek"})
    assert refusal_of("deepseek:chat") == (
        "completion: 'deepseek:chat' needs DEEPSEEK_API_KEY in the environment."
    )


MODELS = """
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

model = TestModel(custom_output_text="a model")
agent = Agent(TestModel(custom_output_text="an agent"))
"""


@pytest.mark.parametrize(("attribute", "answer"), [("model", "a model"), ("agent", "an agent")])
async def test_a_model_or_an_agent_may_be_the_attribute(
    here: Path, attribute: str, answer: str
) -> None:
    (here / "my_models.py").write_text(MODELS)
    complete = open_completion(f"my_models:{attribute}")
    question = Message("m", "c", Role.USER, "Hi", Status.DONE, datetime.now(UTC))
    texts = [piece async for piece in complete([question]) if isinstance(piece, str)]
    assert "".join(texts) == answer


@pytest.mark.parametrize("options", [["--help"], ["serve", "--help"]])
def test_help_does_not_import_models(options: list[str]) -> None:
    assert imported_by("runpy.run_module('graphql_app', run_name='__main__')", *options) == []


@pytest.mark.parametrize("name", ["simulated", "echo"])
def test_a_server_without_a_model_does_not_import_models(name: str) -> None:
    assert (
        imported_by(
            "from graphql_app.app import create_app\n"
            "from graphql_app.settings import Settings\n"
            f"create_app(Settings(completion={name!r}))"
        )
        == []
    )


def test_a_server_with_a_model_imports_models() -> None:
    assert "pydantic_ai" in imported_by(
        "import os\n"
        "os.environ['OPENAI_API_KEY'] = 'none'\n"
        "from graphql_app.completions import open_completion\n"
        "open_completion('openai:gpt-5-mini')"
    )


def imported_by(code: str, *arguments: str) -> list[str]:
    """What a fresh process has imported of what models need, after some code."""
    script = (
        "import runpy, sys\n"
        f"sys.argv[1:] = {list(arguments)!r}\n"
        f"try:\n    exec({code!r})\nexcept SystemExit:\n    pass\n"
        "names = ('pydantic_ai', 'openai', 'anthropic', 'httpx2')\n"
        "print(*[name for name in names if name in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return run.stderr.split()


def model_of(name: str) -> Any:
    completion = open_completion(name)
    assert isinstance(completion, ModelCompletion)
    return completion._model
