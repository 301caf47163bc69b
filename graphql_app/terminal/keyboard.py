"""What is entered."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import TypeAlias


class Signal(Enum):
    """What comes from the keyboard besides lines."""

    INTERRUPT = "Ctrl-C"
    END = "Ctrl-D"


Key: TypeAlias = str | Signal


def read_lines(descriptor: int, enter: Callable[[Key], object]) -> None:
    """Gives each line of a file to `enter`, then its end; until the loop is closed.

    Reads the descriptor itself: a thread that waits inside of sys.stdin may end the interpreter
    with a fatal error.
    """
    rest = b""
    with suppress(RuntimeError):
        with suppress(OSError):  # The terminal is gone.
            while data := os.read(descriptor, 65_536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    enter(line.removesuffix(b"\r").decode(errors="replace"))
        if rest:
            enter(rest.decode(errors="replace"))
        enter(Signal.END)


@contextmanager
def interrupting(interrupt: Callable[[], None]) -> Iterator[None]:
    """Has Ctrl-C call a function in the loop, at no moment but between two steps."""
    loop = asyncio.get_running_loop()
    # Where there is no such thing (Windows), Ctrl-C ends the chat.
    with suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
