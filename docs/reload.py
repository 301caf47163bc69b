"""Makes docs/reload.svg: a real chat whose reader is killed in mid-stream and comes back.

It starts a server, runs `graphql-app chat` in a pseudo-terminal, kills it, runs it again with
`--resume`, and draws what both printed, at the times they printed it. Run it with `make reload`.
"""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path

COMMAND = [sys.executable, "-m", "graphql_app"]
COLUMNS, LINE_HEIGHT, CHARACTER_WIDTH, MARGIN = 92, 19, 8.4, 16
QUESTION = "How do you keep a text right?"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x07")

Printed = tuple[float, str]


def record(url: str) -> Iterator[Printed]:
    """What is printed, with the second in which it was."""
    start = time.monotonic()

    def now() -> float:
        return time.monotonic() - start

    def shell(command: str) -> Printed:
        return now(), f"$ {command}\n"

    yield shell("graphql-app chat")
    first, screen = spawn("chat", "--url", url)
    typed = False
    for text in read(screen, seconds=5.5):
        yield now(), text
        if not typed and text.endswith("> "):
            typed = True
            os.write(screen, f"{QUESTION}\n".encode())
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    yield now(), "\nKilled\n"
    time.sleep(1.5)  # Long enough to see that nobody reads.
    yield shell("graphql-app chat --resume")
    second, screen = spawn("chat", "--url", url, "--resume")
    for text in read(screen, seconds=30):
        yield now(), text
        if text.endswith("> "):
            break
    os.kill(second, signal.SIGKILL)
    os.waitpid(second, 0)


def spawn(*arguments: str) -> tuple[int, int]:
    process, screen = pty.fork()
    if process == 0:
        os.environ.update(COLUMNS=str(COLUMNS), NO_COLOR="1")
        os.execv(COMMAND[0], [*COMMAND, *arguments])
    return process, screen


def read(screen: int, *, seconds: float) -> Iterator[str]:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([screen], [], [], left)[0]:
            data = os.read(screen, 65_536).decode(errors="replace")
            yield ESCAPES.sub("", data).replace("\r", "")


def draw(printed: list[Printed]) -> str:
    """An SVG that shows the end where animation is not supported."""
    length = printed[-1][0] + 4
    row = column = 0
    words = []
    for at, text in printed:
        for word in re.findall(r"\n| *[^ \n]+| +", text):
            if word == "\n" or column + len(word) > COLUMNS:
                row, column = row + 1, 0
                word = word.strip()
            column += len(word)
            if shown := word.strip():
                x = MARGIN + (column - len(shown)) * CHARACTER_WIDTH
                y = MARGIN + (row + 1) * LINE_HEIGHT
                words.append(
                    f'<text x="{x:.1f}" y="{y}">{escape(shown)}<set attributeName="visibility" '
                    f'to="hidden" begin="loop.begin" end="loop.begin+{at:.2f}s"/></text>'
                )
    width, height = 2 * MARGIN + COLUMNS * CHARACTER_WIDTH, 2 * MARGIN + (row + 2) * LINE_HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" fill="#d8dee9">'
        f"\n<title>A reply goes on after its reader was killed</title>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#1b1f27">'
        f'<animate id="loop" attributeName="opacity" from="1" to="1" dur="{length:.1f}s" '
        f'begin="0s;loop.end"/></rect>\n' + "\n".join(words) + "\n</svg>\n"
    )


def main() -> None:
    server = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--word-delay", "0.12"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        found = re.search(r"http://(127\.0\.0\.1:\d+)", server.stderr.readline())
        assert found is not None
        printed = list(record(f"ws://{found[1]}/graphql"))
    finally:
        server.terminate()
        server.wait()
    Path(__file__).with_suffix(".svg").write_text(draw(printed))


if __name__ == "__main__":
    main()
