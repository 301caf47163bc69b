"""The command line: graphql-app serve, migrate, doctor, chat, token, schema.

What a command needs is imported when it runs, so that `--help` answers at once.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

import typer

if TYPE_CHECKING:
    from graphql_app.settings import Settings

STORE = "Where messages are kept: memory://, sqlite:///chat.db, postgresql://… or redis://…"

app = typer.Typer(
    name="graphql-app",
    help="A chat backend whose answers survive.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Plain help comes in half the time.
)


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port to listen on.", show_default="3000")
    ] = None,
    open: Annotated[
        bool | None,
        typer.Option(
            "--open",
            help="Listen where other machines can come in, without asking for tokens.",
            show_default=False,
        ),
    ] = None,
    production: Annotated[
        bool | None,
        typer.Option(
            "--production",
            help="Show nothing that only developers need: no schema, playground, suggestions.",
            show_default=False,
        ),
    ] = None,
    trusted_documents: Annotated[
        str | None,
        typer.Option(help="A manifest with the only documents that are run.", metavar="FILE"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that serve; more need a shared store.", show_default="1"),
    ] = None,
    store: Annotated[str | None, typer.Option(help=STORE, show_default="memory://")] = None,
    completion: Annotated[
        str | None,
        typer.Option(
            help="Who answers: simulated, echo, provider:model (openai:gpt-5-mini) or "
            "package.module:attribute.",
            show_default="simulated",
        ),
    ] = None,
    word_delay: Annotated[
        float | None,
        typer.Option(help="Seconds between words of simulated and echo.", show_default="0.05"),
    ] = None,
    system_prompt: Annotated[
        str | None, typer.Option(help="What a model is told before the conversation.")
    ] = None,
    system_prompt_file: Annotated[
        str | None, typer.Option(help="The same from a file.", metavar="FILE")
    ] = None,
    max_history_messages: Annotated[
        int | None,
        typer.Option(help="The most messages that a model is sent; 0 is all.", show_default="0"),
    ] = None,
    max_history_tokens: Annotated[
        int | None,
        typer.Option(
            help="The most tokens that a model is sent, estimated; 0 is all.", show_default="0"
        ),
    ] = None,
    drain_seconds: Annotated[
        float | None,
        typer.Option(
            help="Seconds that replies may go on after a shutdown began.", show_default="20"
        ),
    ] = None,
    log_format: Annotated[
        str | None,
        typer.Option(help="human or json; json in production.", show_default="human"),
    ] = None,
) -> None:
    """Serves the chat. Each option is also a variable: GRAPHQL_APP_PORT and so on."""
    given = {
        "host": host,
        "port": port,
        "open": open,
        "production": production,
        "trusted_documents": trusted_documents,
        "workers": workers,
        "store": store,
        "completion": completion,
        "word_delay": word_delay,
        "system_prompt": system_prompt,
        "system_prompt_file": system_prompt_file,
        "max_history_messages": max_history_messages,
        "max_history_tokens": max_history_tokens,
        "drain_seconds": drain_seconds,
        "log_format": log_format,
    }
    with _settings(given) as settings:
        if settings.workers > 1:
            from graphql_app.workers import serve_with_workers

            serve_with_workers(settings)
        else:
            from graphql_app.server import serve as serve_alone

            serve_alone(settings)


@runtime_checkable
class Migratable(Protocol):
    """A store whose database has versions."""

    async def migrate(self) -> str:
        """Brings the database to the newest version; returns a sentence that says so."""


@app.command()
def migrate(
    store: Annotated[str | None, typer.Option(help=STORE, show_default="memory://")] = None,
) -> None:
    """Brings a store's database to the newest version.

    `serve` does so, too, when it starts.
    """
    import asyncio

    from graphql_app.app import opening_quietly
    from graphql_app.stores import open_store
    from graphql_app.stores.urls import without_password

    with _settings({"store": store}) as settings, opening_quietly():
        opened = open_store(settings.store)
        if isinstance(opened, Migratable):
            typer.echo(asyncio.run(opened.migrate()))
        else:
            typer.echo(f"{without_password(settings.store)} has nothing to migrate.")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[OPTIONS] [OPTIONS OF serve]",
)
def doctor(
    context: typer.Context,
    call: Annotated[
        bool, typer.Option("--call", help="Ask the model for one word, which may cost a little.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Checks settings, store, model, limits and clock, and says what to do.

    It takes the options of serve too, and changes nothing. The exit status is 0 if all is well, 1
    if there is a warning, 2 if something does not work.
    """
    from graphql_app import doctor as examination

    # Parsed as `serve` parses them, which also says what is wrong with them.
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    given = command.make_context("graphql-app doctor", list(context.args)).params
    findings = examination.examine(given, calls=call)
    if as_json:
        typer.echo(examination.as_json(findings))
    else:
        typer.echo(examination.as_text(findings, _paint))
    raise typer.Exit(examination.exit_status(findings))


def _paint(level: str, word: str) -> str:
    """A word in the colour of a finding's level; echo leaves it out where nobody sees it."""
    return typer.style(word, fg={"ok": "green", "warn": "yellow", "fail": "red"}[level])


@app.command()
def chat(
    url: Annotated[
        str | None,
        typer.Option(
            envvar="GRAPHQL_APP_URL",
            help="The server.",
            metavar="URL",
            show_default="ws://127.0.0.1:3000/graphql",
        ),
    ] = None,
    conversation: Annotated[
        str, typer.Option(help="The conversation to join.", metavar="ID")
    ] = "default",
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Show a reply first and go on with it: REPLY_ID, or the newest."
        ),
    ] = False,
    reply_id: Annotated[
        str | None,
        typer.Argument(
            help="With --resume: the reply. If not said, or 'last', the newest that streams.",
            metavar="REPLY_ID",
        ),
    ] = None,
    history: Annotated[
        int | None, typer.Option(help="Show this many earlier messages first.", min=1, metavar="N")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the token, read for each connection. GRAPHQL_APP_TOKEN is one, too.",
            metavar="FILE",
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Chats in the terminal.

    Ctrl-C returns to the prompt and the reply continues; Ctrl-C again stops it.
    """
    if reply_id is not None and not resume:
        raise typer.BadParameter(f"{reply_id!r} goes with --resume.")
    from graphql_app.client import DEFAULT_URL
    from graphql_app.terminal import LAST
    from graphql_app.terminal import chat as chat_in_terminal

    raise typer.Exit(
        chat_in_terminal(
            url or DEFAULT_URL,
            conversation_id=conversation,
            resume=(reply_id or LAST) if resume else None,
            history_size=history,
            # Not an option: others see what a command was started with.
            token=token_file or os.environ.get("GRAPHQL_APP_TOKEN") or None,
        )
    )


@app.command()
def token(
    sub: Annotated[str, typer.Option(help="The owner that it names.", metavar="OWNER")],
    minutes: Annotated[
        float, typer.Option(help="How long it is good for.", min=0, max=5_256_000)
    ] = 60,
) -> None:
    """Makes a token, signed with GRAPHQL_APP_JWT_SECRET, to try the server with."""
    from graphql_app.access.tokens import new_token
    from graphql_app.errors import BadUserInputError, ConfigurationError

    with _settings({}) as settings:
        if settings.jwt_secret is None:
            raise ConfigurationError("jwt_secret: a token is signed with it; set it.")
        try:
            settings.limits.check_id("sub", sub)
        except BadUserInputError as error:
            raise ConfigurationError(str(error)) from None
        typer.echo(
            new_token(
                settings.jwt_secret.get_secret_value(),
                sub,
                minutes * 60,
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
            )
        )


@app.command()
def schema() -> None:
    """Prints the GraphQL schema."""
    from graphql_app.api.schema import sdl

    typer.echo(sdl(), nl=False)


@app.command()
def documents() -> None:
    """Prints the documents of our own clients, as `serve --trusted-documents` takes them."""
    import json
    from importlib.resources import files

    from graphql_app.api.trusted import manifest
    from graphql_app.client.documents import sent_texts

    browser = json.loads(files("graphql_app").joinpath("browser_documents.json").read_text("utf-8"))
    typer.echo(json.dumps(browser | manifest(sent_texts()), indent=2, ensure_ascii=False))


@contextmanager
def _settings(given: Mapping[str, object]) -> "Iterator[Settings]":
    """The settings; what cannot work, in them or with them, ends the command with one line.

    The exit status is 2 for what is wrong, and 1 for a store that cannot be reached.
    """
    from graphql_app.errors import ConfigurationError, StoreUnavailableError
    from graphql_app.masking import masked
    from graphql_app.settings import read_settings
    from graphql_app.stores.urls import without_password

    try:
        settings = read_settings(given)
        try:
            yield settings
        except StoreUnavailableError as error:
            cause = error.__cause__ or error
            reason = masked(str(cause).strip().partition("\n")[0]) or type(cause).__name__
            shown = without_password(settings.store)
            typer.echo(f"graphql-app: the store {shown} cannot be reached: {reason}", err=True)
            raise typer.Exit(1) from None
    except ConfigurationError as error:
        typer.echo(f"graphql-app: {error}", err=True)
        raise typer.Exit(2) from None
