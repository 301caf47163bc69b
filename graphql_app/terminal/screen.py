"""What is shown."""

from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.text import Text

from graphql_app.client import ConnectionChange, Update
from graphql_app.messages import Message, Role, Status

# Newline and tab may pass. A picture shows what another control character would have done.
_SHOWN = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    ord("\r"): None,
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}


def printable(text: str) -> str:
    """`text` without control characters: none of it can move the cursor or set a title."""
    return text.translate(_SHOWN)


class Screen:
    """Where things are shown. Text only grows at its end; nothing is ever drawn again."""

    def __init__(self, output: TextIO, errors: TextIO) -> None:
        self._output = output
        self._prompts = output if output.isatty() else errors
        self._shares_terminal = output.isatty() and errors.isatty()
        self._is_in_line = False
        self._out = Console(file=output, highlight=False, markup=False, emoji=False)
        self._err = Console(file=errors, highlight=False, markup=False, emoji=False)

    def update(self, update: Update) -> None:
        """Goes on with a reply."""
        if update.replaced:
            kept = update.content[: len(update.content) - len(update.text)]
            self.notice(f"The last {update.replaced} characters were wrong; the line once more:")
            self.end_line()
            self.text(kept[kept.rfind("\n") + 1 :])
        self.text(update.text)

    def text(self, text: str) -> None:
        if text:
            self._output.write(printable(text))
            self._output.flush()
            self._is_in_line = not text.endswith("\n")

    def message(self, message: Message) -> None:
        """A whole message, below a line about it."""
        who = "You" if message.role is Role.USER else "Reply"
        about = f"{message.created_at.astimezone():%Y-%m-%d %H:%M}"
        if message.status is not Status.DONE:
            about = f"{about}  {message.status}  {printable(message.id)}"
        self.end_line()
        self._out.print(Text.assemble((who, "bold"), (f"  {about}", "dim")), soft_wrap=True)
        self.text(message.content)
        self.end_line()

    def notice(self, text: str) -> None:
        """Something that is not part of a reply, on a line of its own."""
        if self._shares_terminal:
            self.end_line()
        self._err.print(Text(printable(text), "dim"), soft_wrap=True)

    def prompt(self) -> None:
        self.end_line()
        self._prompts.write("> ")
        self._prompts.flush()
        self._is_in_line = self._shares_terminal

    def echoed(self, *, line_ended: bool) -> None:
        """The terminal itself has just shown what was entered: a line, or ^C."""
        if self._shares_terminal:
            self._is_in_line = not line_ended

    def end_line(self) -> None:
        if self._is_in_line:
            self.text("\n")


def connection_notices(screen: Screen) -> Callable[[ConnectionChange], None]:
    """Says when the connection is lost and when it is back."""
    was_connected = is_lost = False

    def tell(change: ConnectionChange) -> None:
        nonlocal was_connected, is_lost
        if not change.connected:
            lost = "Connection lost" if was_connected and not is_lost else "No connection"
            screen.notice(
                f"{lost} ({change.reason}); reconnecting in {change.retry_seconds:.1f} s …"
            )
        elif is_lost:
            screen.notice("… the connection is back.")
        was_connected = was_connected or change.connected
        is_lost = not change.connected

    return tell
