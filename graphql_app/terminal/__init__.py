"""Chatting in a terminal.

    prompt ──line──▶ a reply streams ──end──▶ prompt
      ▲                    │ Ctrl-C
      └───── detached ◀────┘               the reply goes on
                 │ Ctrl-C, before anything is entered: the reply is stopped

Replies and lists go to the standard output, all else to the standard error. A thread reads what is
entered, so that nothing that is typed, or not typed, holds the stream up.
"""

import asyncio
import logging
import os
import sys
import threading
from functools import partial
from io import TextIOWrapper
from pathlib import Path

from graphql_app.client import DEFAULT_CONVERSATION, DEFAULT_URL, ChatClient, ChatClientError
from graphql_app.terminal.commands import (
    HELP,
    HISTORY_SIZE,
    LAST,
    Command,
    UsageError,
    parse_line,
    way_back,
)
from graphql_app.terminal.keyboard import Key, Signal, interrupting, read_lines
from graphql_app.terminal.screen import Screen, connection_notices, printable
from graphql_app.terminal.session import (
    INTERRUPTED,
    LONGEST_TYPED_BYTES,
    SEARCHED_SIZE,
    STOPPED,
    Followed,
    ReplyFailedError,
    Terminal,
)

__all__ = [
    "HELP",
    "HISTORY_SIZE",
    "INTERRUPTED",
    "LAST",
    "LONGEST_TYPED_BYTES",
    "SEARCHED_SIZE",
    "STOPPED",
    "Command",
    "Followed",
    "Key",
    "ReplyFailedError",
    "Screen",
    "Signal",
    "Terminal",
    "UsageError",
    "chat",
    "connection_notices",
    "parse_line",
    "printable",
    "read_lines",
    "way_back",
]


def chat(
    url: str = DEFAULT_URL,
    *,
    conversation_id: str = DEFAULT_CONVERSATION,
    resume: str | None = None,
    history_size: int | None = None,
    token: str | Path | None = None,
) -> int:
    """Chats on the standard streams until the user leaves; returns the exit status.

    Args:
        resume: a reply to show first, or LAST.
        history_size: how many messages to show before that.
        token: who this is; or a file with that, which is read for each connection.
    """
    # What the connection goes through is told in one line; no library needs to add to it.
    logging.getLogger("gql").addHandler(logging.NullHandler())
    logging.getLogger("gql").propagate = False
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    screen = Screen(sys.stdout, sys.stderr)
    try:
        return asyncio.run(_chat(screen, url, conversation_id, resume, history_size, token))
    except (ChatClientError, ReplyFailedError, UsageError) as error:
        screen.notice(f"graphql-app: {' '.join(str(error).split())}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; at the exit, nothing must try to write again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _chat(
    screen: Screen,
    url: str,
    conversation_id: str,
    resume: str | None,
    history_size: int | None,
    token: str | Path | None,
) -> int:
    async with ChatClient(
        url,
        token=partial(_read_token, token) if isinstance(token, Path) else token,
        on_connection=connection_notices(screen),
    ) as client:
        terminal = Terminal(
            client,
            screen,
            conversation_id=conversation_id,
            is_interactive=sys.stdin.isatty(),
        )
        # Until here, Ctrl-C ended the connecting.
        with interrupting(terminal.interrupt):
            loop = asyncio.get_running_loop()
            threading.Thread(
                target=read_lines,
                args=(
                    sys.stdin.fileno(),
                    lambda key: loop.call_soon_threadsafe(terminal.enter, key),
                ),
                # What blocks in it must not hold up the exit.
                daemon=True,
            ).start()
            return await terminal.run(resume=resume, history_size=history_size)


def _read_token(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"The token in {str(file)!r} cannot be read: {reason}.") from error
