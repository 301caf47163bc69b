"""What lines and options mean."""

import shlex
from dataclasses import dataclass

from graphql_app.client import DEFAULT_CONVERSATION, DEFAULT_URL

LAST = "last"
"""What stands for the newest reply that streams."""

HISTORY_SIZE = 20

HELP = f"""\
Enter a message to send it. A line that begins with / is a command:

  /history [N]   the newest N messages ({HISTORY_SIZE} if not said)
  /resume [ID]   shows a reply and goes on with it: the newest that streams, if not said
  /stop          ends the reply that streams
  /regenerate    asks for another reply to the newest message, in place of the one it has
  /clear         removes all messages of this conversation
  /help          this list
  /quit          leaves, as do Ctrl-C and Ctrl-D at the prompt; replies go on
  //text         sends /text

Ctrl-C while a reply streams returns to the prompt, and the reply goes on. Ctrl-C again, before
anything is entered, stops it."""


class UsageError(Exception):
    """A command that does not exist, or cannot be done."""


@dataclass(frozen=True, slots=True)
class Command:
    """A line that begins with a slash."""

    name: str
    argument: str = ""


def parse_line(line: str) -> Command | str | None:
    """What a line means: a command, a message, or nothing."""
    if not line.strip():
        return None
    if line.startswith("//"):
        return line[1:]
    if line.startswith("/"):
        name, _, argument = line[1:].strip().partition(" ")
        return Command(name, argument.strip())
    return line


def parse_size(argument: str) -> int:
    if not argument:
        return HISTORY_SIZE
    if not argument.isdecimal() or int(argument) < 1:
        raise UsageError(f"/history takes a number from 1 on, not {argument!r}.")
    return int(argument)


def way_back(
    reply_id: str | None, *, url: str = DEFAULT_URL, conversation_id: str = DEFAULT_CONVERSATION
) -> str:
    """The command that resumes a reply; without its id, the newest that streams."""
    options = {"--resume": reply_id or LAST}
    if url != DEFAULT_URL:
        options["--url"] = url
    if reply_id is None and conversation_id != DEFAULT_CONVERSATION:
        options["--conversation"] = conversation_id
    words = ["graphql-app", "chat", *(word for option in options.items() for word in option)]
    return shlex.join(words)
