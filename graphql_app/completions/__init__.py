"""Who answers. `open_completion` knows them by name."""

import importlib
import inspect
import sys
from pathlib import Path
from typing import cast

from graphql_app.errors import ConfigurationError
from graphql_app.interfaces import Completion

ALLOWED = "simulated, echo, or package.module:attribute (your own async generator function)"


def open_completion(name: str, *, word_delay_seconds: float = 0.05) -> Completion:
    """The completion that a name means.

    Args:
        name: `simulated`, `echo`, or `package.module:attribute`, found on the ordinary import path
            and in the current folder.
        word_delay_seconds: the pace of the first two.

    Raises:
        ConfigurationError: nothing has that name, or it cannot be a completion.
    """
    if name == "simulated":
        from graphql_app.completions.simulated import simulated

        return simulated(word_delay_seconds)
    if name == "echo":
        from graphql_app.completions.echo import echo

        return echo(word_delay_seconds)
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise ConfigurationError(f"completion: {name!r} is unknown; use {ALLOWED}.")
    return _imported(name, module, attribute)


def _imported(name: str, module: str, attribute: str) -> Completion:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # Whatever the module does when it is imported.
        raise ConfigurationError(
            f"completion: {name!r} cannot be imported: {type(error).__name__}: {error}."
        ) from error
    if not callable(found):
        raise ConfigurationError(f"completion: {name!r} is not callable; use {ALLOWED}.")
    if inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found):
        raise ConfigurationError(
            f"completion: {name!r} is no async generator function; write async def, and yield text."
        )
    return cast(Completion, found)
