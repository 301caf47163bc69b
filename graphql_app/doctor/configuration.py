"""Examines the settings: where they come from, and whether they fit each other."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from graphql_app.app import create_app
from graphql_app.doctor.findings import Finding, fail, ok, warn
from graphql_app.errors import ConfigurationError
from graphql_app.settings import PREFIX, Settings, read_settings
from graphql_app.stores.urls import without_password

CANNED = ("simulated", "echo")
"""Completions that are no model."""

ESCAPED_BYTES = 6
"""What a client that escapes to ASCII needs for one UTF-16 code unit."""

ENVELOPE_BYTES = 8_192
"""What is around a reply's text when a client resumes with it."""

SHORT_LEASE_SECONDS = 3.0


def read(given: Mapping[str, Any]) -> tuple[Settings | None, list[Finding]]:
    """The settings, if they can be read, and what is to be said about reading them.

    Args:
        given: on the command line, by field name; None means not given.
    """
    try:
        settings = read_settings(given)
    except ConfigurationError as error:
        return None, [
            fail(
                "settings.valid",
                sentence,
                "Correct it; nothing else can be looked at before.",
            )
            for sentence in str(error).splitlines()
        ]
    return settings, [ok("settings.valid", f"All settings can be used; {_sources(given)}.")]


def _sources(given: Mapping[str, Any]) -> str:
    """Where the settings come from. Their names only: some are secrets."""
    options = sorted(name for name, value in given.items() if value is not None)
    variables = sorted(
        name.removeprefix(PREFIX).lower()
        for name in map(str.upper, os.environ)
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() in Settings.model_fields
    )
    from_variables = [name for name in variables if name not in options]
    parts = [
        f"{', '.join(names)} from {place}"
        for names, place in ((options, "the command line"), (from_variables, "the environment"))
        if names
    ]
    return f"{'; '.join(parts)}; the rest is as usual" if parts else "all are as usual"


def examine(settings: Settings) -> Iterator[Finding]:
    """Whether the settings fit each other, and what they are for."""
    is_in_memory = settings.store.startswith("memory:")
    if settings.workers > 1 and is_in_memory:
        yield fail(
            "settings.workers",
            f"{settings.workers} workers cannot share memory://.",
            "Choose a store that processes share, such as sqlite:///chat.db, or one worker.",
        )
    else:
        yield ok("settings.workers", f"{_count(settings.workers, 'process', 'processes')}.")
    if settings.production and is_in_memory:
        yield warn(
            "settings.store",
            "memory:// forgets all messages when the process ends.",
            "Choose sqlite:///…, postgresql://… or redis://… for production.",
        )
    else:
        yield ok("settings.store", f"Messages are kept in {without_password(settings.store)}.")
    yield from _completion(settings)
    yield from _sizes(settings)
    if settings.lease_seconds < SHORT_LEASE_SECONDS and not is_in_memory:
        yield warn(
            "settings.lease",
            f"A process that stands still for {settings.lease_seconds:g} s loses its replies.",
            f"Set {PREFIX}LEASE_SECONDS to 10, unless you know that nothing ever pauses.",
        )


def together(settings: Settings) -> Finding:
    """Whether the application can be put together, with each file that a setting names."""
    try:
        create_app(settings)
    except ConfigurationError as error:
        return fail("settings.together", str(error), "docs/how-to/configure.md explains each.")
    return ok("settings.together", "The application can be put together from them.")


def _completion(settings: Settings) -> Iterator[Finding]:
    is_canned = settings.completion in CANNED
    if settings.production and is_canned:
        yield warn(
            "settings.completion",
            f"{settings.completion} is no model: it is for demonstrations.",
            "Choose a model with --completion, such as openai:gpt-5-mini.",
        )
    elif is_canned and (
        settings.system_prompt or settings.max_history_messages or settings.max_history_tokens
    ):
        yield warn(
            "settings.completion",
            f"{settings.completion} takes no notice of a system prompt, nor of a history's limits.",
            "They are for models; choose one with --completion.",
        )
    else:
        yield ok("settings.completion", f"{settings.completion} answers.")


def _sizes(settings: Settings) -> Iterator[Finding]:
    needed = ESCAPED_BYTES * settings.max_reply_length + ENVELOPE_BYTES
    if settings.max_message_bytes < needed:
        yield warn(
            "settings.sizes",
            f"A client that escapes to ASCII cannot resume with a reply of "
            f"{settings.max_reply_length:,} code units: that takes {needed:,} bytes, and "
            f"{settings.max_message_bytes:,} are let in.",
            f"Raise {PREFIX}MAX_MESSAGE_BYTES to that, or lower {PREFIX}MAX_REPLY_LENGTH.",
        )
    else:
        yield ok("settings.sizes", "The longest reply fits into the largest message.")
    if settings.deflate:
        yield warn(
            "settings.deflate",
            "Messages on sockets are deflated: each takes three times the memory, and events twice "
            "the time.",
            f"Take {PREFIX}DEFLATE out, unless your users' lines are the narrowest place.",
        )
    if settings.max_connections < settings.max_sockets:
        yield warn(
            "settings.connections",
            f"{settings.max_sockets:,} sockets are let in, and only {settings.max_connections:,} "
            "connections.",
            f"Set {PREFIX}MAX_CONNECTIONS to somewhat more than {PREFIX}MAX_SOCKETS.",
        )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
