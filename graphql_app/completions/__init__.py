"""Who answers. `open_completion` knows them by name."""

import functools
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import Any, cast

from graphql_app.errors import ConfigurationError
from graphql_app.interfaces import Completion

PROVIDERS = frozenset(
    {
        "alibaba",
        "anthropic",
        "azure",
        "azure-responses",
        "bedrock",
        "bedrock-mantle",
        "cerebras",
        "cohere",
        "crusoe",
        "deepseek",
        "elevenlabs",
        "fireworks",
        "github",
        "github-copilot",
        "google",
        "google-cloud",
        "google-decisions",
        "google-gla",
        "google-vertex",
        "groq",
        "heroku",
        "huggingface",
        "litellm",
        "meta",
        "mistral",
        "moonshotai",
        "nebius",
        "ollama",
        "openai",
        "openai-chat",
        "openai-chatgpt",
        "openai-codex",
        "openai-decisions",
        "openai-responses",
        "openrouter",
        "ovhcloud",
        "sambanova",
        "sentence-transformers",
        "snowflake",
        "system-one",
        "together",
        "typesafe",
        "vercel",
        "vllm",
        "voyageai",
        "xai",
        "zai",
    }
)
"""What stands before the colon of a model's name. It is never a module: several are named like
packages that their users have installed. Kept here so that all else works without pydantic-ai."""

GATEWAY = "gateway/"
"""Stands before a provider that is reached through Pydantic's gateway."""

ALLOWED = (
    "simulated, echo, provider:model (openai:gpt-5-mini, anthropic:…, google-gla:…, ollama:…), "
    "or package.module:attribute (your own async generator function, model or agent)"
)


def provider_of(name: str) -> str | None:
    """The provider of the model that a completion's name means; None: it means something else."""
    before, colon, _ = name.partition(":")
    return before if colon and _is_model_name(before) else None


def open_completion(
    name: str,
    *,
    word_delay_seconds: float = 0.05,
    system_prompt: str = "",
    max_history_messages: int = 0,
    max_history_tokens: int = 0,
) -> Completion:
    """The completion that a name means.

    Args:
        name: `simulated`, `echo`, `provider:model`, or `package.module:attribute`, found on the
            ordinary import path and in the current folder. What stands before the colon is a
            provider if `PROVIDERS` has it, else a module.
        word_delay_seconds: the pace of the first two.
        system_prompt, max_history_messages, max_history_tokens: for models and agents; see
            `graphql_app.completions.model.model_completion`.

    Raises:
        ConfigurationError: nothing has that name, or it cannot be a completion.
    """
    if name == "simulated":
        from graphql_app.completions.simulated import simulated

        return simulated(word_delay_seconds)
    if name == "echo":
        from graphql_app.completions.echo import echo

        return echo(word_delay_seconds)
    before, colon, after = name.partition(":")
    if not colon or not before or not after:
        raise ConfigurationError(f"completion: {name!r} is unknown; use {ALLOWED}.")
    found: Any = name
    if not _is_model_name(before):
        found = _imported(name, before, after)
        if not _is_model(found):
            return _function(name, found)
    if not _has_pydantic_ai():
        raise ConfigurationError(
            f"completion: {name!r} needs pydantic-ai: pip install 'graphql-app[llm]'."
        )
    from graphql_app.completions.model import model_completion

    return model_completion(
        found,
        system_prompt=system_prompt,
        max_history_messages=max_history_messages,
        max_history_tokens=max_history_tokens,
    )


def _is_model_name(before: str) -> bool:
    """Whether what stands before the colon is a provider, by this list or by pydantic-ai's own."""
    if before in PROVIDERS or before.startswith(GATEWAY):
        return True
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    is_a_module = "." in before or importlib.util.find_spec(before) is not None
    if is_a_module or not _has_pydantic_ai():
        return False
    from graphql_app.completions.model import is_provider

    return is_provider(before)


def _has_pydantic_ai() -> bool:
    return importlib.util.find_spec("pydantic_ai") is not None


def _is_model(found: object) -> bool:
    """Whether it is a model or an agent; who made one has imported pydantic-ai."""
    if "pydantic_ai" not in sys.modules:
        return False
    from graphql_app.completions.model import is_model

    return is_model(found)


def _imported(name: str, module: str, attribute: str) -> object:
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # Whatever the module does when it is imported.
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            hint = f"; the providers of models are {', '.join(sorted(PROVIDERS))}"
        raise ConfigurationError(
            f"completion: {name!r} cannot be imported: {type(error).__name__}: {error}{hint}."
        ) from error
    return found


def _function(name: str, found: object) -> Completion:
    if not callable(found):
        raise ConfigurationError(f"completion: {name!r} is not callable; use {ALLOWED}.")
    if inspect.isclass(found):
        raise ConfigurationError(
            f"completion: {name!r} is a class; give the name of an object that is one of it."
        )
    if not _yields(found):
        raise ConfigurationError(
            f"completion: {name!r} is no async generator function; write async def, and yield "
            "text. A function that returns an async iterator says so: -> AsyncIterator[str]."
        )
    return cast(Completion, found)


def _yields(found: Any) -> bool:
    """Whether something, when it is called, returns an async iterator, as far as it says so."""
    while isinstance(found, functools.partial):
        found = found.func
    if not inspect.isroutine(found):
        found = type(found).__call__
    found = inspect.unwrap(found)
    if inspect.isasyncgenfunction(found):
        return True
    # An annotation may be a string, and name what is imported for type checkers only.
    returned = str(getattr(found, "__annotations__", {}).get("return"))
    is_coroutine = inspect.iscoroutinefunction(found)
    return not is_coroutine and re.search(r"\bAsync(Iterator|Generator)\b", returned) is not None
