"""`graphql-app chat` as a process, under a terminal of its own and with pipes."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from graphql_app.client import ChatClient
from graphql_app.messages import Role, Status
from tests.processes import ServerProcess, serving
from tests.proxies import CuttingProxy, cutting_proxy

PATIENCE_SECONDS = 60.0

WORDS = [f"word{number}" for number in range(400)]
LONG = " ".join(WORDS)

# A shell gives its children the terminal; here the process takes it itself.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'graphql_app', 'chat', *sys.argv[1:]])"
)


class PseudoTerminal:
    """A chat, and somebody who types and reads. What is typed is not echoed."""

    def __init__(self, *options: str, environment: dict[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *options],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb", **(environment or {})},
        )
        os.close(slave)
        self.output = ""
        self._seen = 0
        self._more = asyncio.Event()
        self._rest = b""
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def press(self, letter: str) -> None:
        """Presses a letter together with Ctrl."""
        os.write(self._master, bytes([ord(letter) & 0x1F]))

    async def until(self, text: str) -> str:
        """Waits until this is shown, and returns what was shown before since the last time."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (at := self.output.find(text, self._seen)) < 0:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} was not shown: {self.output[self._seen :]!r}") from None
        shown = self.output[self._seen : at]
        self._seen = at + len(text)
        return shown

    async def ended(self) -> int:
        """Waits for the end of the process, and returns its exit status."""
        return await asyncio.to_thread(self.process.wait, PATIENCE_SECONDS)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        os.close(self._master)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # The process is gone.
            asyncio.get_running_loop().remove_reader(self._master)
            return
        lines = (self._rest + data).replace(b"\r\n", b"\n")
        text = lines.decode(errors="ignore")
        self._rest = lines[len(text.encode()) :]
        self.output += text
        self._more.set()


@contextmanager
def chatting(*options: str, environment: dict[str, str] | None = None) -> Iterator[PseudoTerminal]:
    terminal = PseudoTerminal(*options, environment=environment)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[ChatClient]:
    async with ChatClient(server.url) as client:
        yield client


@pytest.fixture
async def proxy(server: ServerProcess) -> AsyncIterator[CuttingProxy]:
    async with cutting_proxy(server.port) as proxy:
        yield proxy


def piped(
    *options: str, lines: str | bytes, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "graphql_app", "chat", *options],
        input=lines.encode() if isinstance(lines, str) else lines,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


class Piped:
    """A chat with pipes, which is read while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.input, self.output, self.errors = process.stdin, process.stdout, process.stderr


@asynccontextmanager
async def piping(*options: str) -> AsyncIterator[Piped]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "graphql_app", "chat", *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield Piped(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# Somebody sits there.


async def test_a_reply_appears_word_by_word(server: ServerProcess) -> None:
    with chatting("--url", server.url, "--conversation", "appears") as terminal:
        await terminal.until("> ")
        terminal.type(LONG)
        await terminal.until("word0 word1 ")
        assert WORDS[-1] not in terminal.output
        terminal.press("c")
        await terminal.until("> ")
        terminal.type("日本語 👩‍👩‍👧‍👦")
        assert await terminal.until("日本語 👩‍👩‍👧‍👦\n> ") == ""
        terminal.press("d")
        assert await terminal.ended() == 0


async def test_ctrl_c_detaches_and_the_reply_can_be_resumed_in_another_process(
    server: ServerProcess, client: ChatClient
) -> None:
    question = " ".join(WORDS[:200])
    with chatting("--url", server.url, "--conversation", "detach") as terminal:
        await terminal.until("> ")
        terminal.type(question)
        await terminal.until("word0 word1 ")
        terminal.press("c")
        await terminal.until("Detached; the reply goes on.")
        await terminal.until("\n  graphql-app ")
        command = (await terminal.until("\n")).split()
        await terminal.until("> ")
        assert terminal.process.poll() is None
        _, reply = await client.messages("detach")
        assert command == ["chat", "--resume", reply.id, "--url", server.url]
        with chatting(*command[1:]) as other:
            await other.until(question + "\n> ")
            assert "Conversation 'detach'." in other.output
            other.type("still there?")
            await other.until("still there?\n> ")
    *_, answer = await client.messages("detach")
    assert (answer.content, answer.role) == ("still there?", Role.ASSISTANT)
    finished = await client.message(reply.id)
    assert finished is not None
    assert (finished.status, finished.content) == (Status.DONE, question)


async def test_a_second_ctrl_c_stops_the_reply_and_a_third_leaves(
    server: ServerProcess, client: ChatClient
) -> None:
    with chatting("--url", server.url, "--conversation", "stop") as terminal:
        await terminal.until("> ")
        terminal.type(LONG)
        await terminal.until("word0 word1 ")
        terminal.press("c")
        await terminal.until("> ")
        terminal.press("c")
        await terminal.until("The reply was stopped.")
        _, reply = await client.messages("stop")
        assert reply.status is Status.STOPPED
        assert LONG.startswith(reply.content)
        await terminal.until("> ")
        terminal.press("c")
        assert await terminal.ended() == 0


async def test_sigint_is_ctrl_c(server: ServerProcess) -> None:
    with chatting("--url", server.url, "--conversation", "sigint") as terminal:
        await terminal.until("> ")
        terminal.type(LONG)
        await terminal.until("word1 ")
        terminal.process.send_signal(signal.SIGINT)
        await terminal.until("Detached")
        await terminal.until("> ")
        terminal.process.send_signal(signal.SIGINT)
        await terminal.until("The reply was stopped.")


async def test_ctrl_c_after_something_was_entered_leaves_and_stops_nothing(
    server: ServerProcess, client: ChatClient
) -> None:
    with chatting("--url", server.url, "--conversation", "leave") as terminal:
        await terminal.until("> ")
        terminal.type(LONG)
        await terminal.until("word1 ")
        terminal.press("c")
        await terminal.until("> ")
        terminal.type("/help")
        await terminal.until("/history")
        await terminal.until("> ")
        terminal.press("c")
        assert await terminal.ended() == 0
    _, reply = await client.messages("leave")
    assert reply.status is Status.STREAMING
    await client.stop(reply.id)


async def test_a_lost_connection_is_told_and_costs_no_text(proxy: CuttingProxy) -> None:
    question = " ".join(WORDS[:150])
    with chatting(environment={"GRAPHQL_APP_URL": proxy.url}) as terminal:
        await terminal.until("> ")
        terminal.type(question)
        shown = await terminal.until("word20 ") + "word20 "
        await proxy.refuse_connections()
        shown += await terminal.until("\nConnection lost (")
        assert re.fullmatch(r"[^)]*\); reconnecting in \d\.\d s …", await terminal.until("\n"))
        await terminal.until("No connection (connection refused); reconnecting in ")
        await proxy.accept_connections()
        await terminal.until("… the connection is back.\n")
        shown += await terminal.until("\n> ")
    assert shown == question


async def test_stop_clear_and_history_are_commands(
    server: ServerProcess, client: ChatClient
) -> None:
    with chatting("--url", server.url, "--conversation", "commands") as terminal:
        await terminal.until("> ")
        terminal.type(LONG)
        await terminal.until("word1 ")
        terminal.type("/stop")
        await terminal.until("The reply was stopped.\n> ")
        terminal.type("second")
        await terminal.until("second\n> ")
        terminal.type("/history 3")
        await terminal.until("Reply  ")
        await terminal.until("STOPPED  ")
        await terminal.until("\nword0 word1 ")
        await terminal.until("You  ")
        await terminal.until("\nsecond\nReply  ")
        await terminal.until("\nsecond\n> ")
        terminal.type("/regenerate")
        await terminal.until("second\n> ")
        [*_, question, _] = await client.messages("commands")
        replies = await client.replies(question.id)
        assert [reply.content for reply in replies] == ["second"] * 2
        terminal.type("/clear")
        await terminal.until("Removed 5 messages.")
        assert await client.messages("commands") == []
        terminal.type("/regenerate")
        await terminal.until("Conversation 'commands' has no messages.")
        terminal.type("/nonsense")
        await terminal.until("/nonsense is not a command; see /help.")
        terminal.type("/resume")
        await terminal.until("No reply streams in conversation 'commands'.")
        terminal.type("/quit")
        assert await terminal.ended() == 0


async def test_what_is_typed_while_a_reply_streams_is_sent_after_it(
    server: ServerProcess, client: ChatClient
) -> None:
    question = " ".join(WORDS[:50])
    with chatting("--url", server.url, "--conversation", "ahead") as terminal:
        await terminal.until("> ")
        terminal.type(question)
        await terminal.until("word1 ")
        terminal.type("ahead")
        await terminal.until("word49\n> ahead\n> ")
        terminal.type(LONG)
        await terminal.until("word1 ")
        terminal.type("too early")
        terminal.type("/quit")
        await terminal.until("Not sent: too early")
        await terminal.until("graphql-app chat --resume ")
        assert await terminal.ended() == 0
    *_, reply = await client.messages("ahead")
    assert LONG.startswith(reply.content)
    await client.stop(reply.id)


async def test_a_line_that_the_terminal_cut_is_not_sent(
    server: ServerProcess, client: ChatClient
) -> None:
    with chatting("--url", server.url, "--conversation", "cut line") as terminal:
        await terminal.until("> ")
        terminal.type("x" * 5_000)
        await terminal.until("A terminal cuts a line at 4,095 bytes")
        await terminal.until("> ")
        assert await client.messages("cut line") == []


async def test_control_characters_in_a_reply_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "rude.py").write_text(
        "async def complete(history):\n"
        "    yield 'a\\x1b]0;title\\x07b\\x9b2Jc\\r\\nd\\x7f [bold]e[/bold] :smile: \\tf'\n"
    )
    with (
        serving("--completion", "rude:complete", directory=tmp_path) as server,
        chatting("--url", server.url) as terminal,
    ):
        await terminal.until("> ")
        terminal.type("?")
        shown = await terminal.until("\n> ")
    assert shown == "a␛]0;title␇b\ufffd2Jc\nd␡ [bold]e[/bold] :smile: \tf"
    assert "\x1b" not in terminal.output


async def test_a_reply_that_failed_says_why_and_the_chat_goes_on(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "from graphql_app import CompletionError\n"
        "async def complete(history):\n"
        "    yield 'half'\n"
        "    raise CompletionError('COMPLETION_FAILED', 'The model is asleep.')\n"
    )
    with serving("--completion", "failing:complete", directory=tmp_path) as server:
        with chatting("--url", server.url) as terminal:
            await terminal.until("> ")
            terminal.type("?")
            await terminal.until("half\nThe reply ended early: The model is asleep. (COMPLETION_F")
            await terminal.until("> ")
        done = piped("--url", server.url, lines="?\nnever sent\n")
        async with ChatClient(server.url) as client:
            messages = await client.messages()
    assert (done.returncode, done.stdout) == (1, "half\n")
    assert done.stderr == (
        "graphql-app: The reply ended early: The model is asleep. (COMPLETION_FAILED)\n"
    )
    assert [message.content for message in messages] == ["?", "half"] * 2


# Nobody sits there.


async def test_piped_lines_are_sent_one_after_the_other(
    server: ServerProcess, client: ChatClient
) -> None:
    done = await asyncio.to_thread(
        piped,
        "--url",
        server.url,
        "--conversation",
        "piped",
        lines="first  one\n\n//usr/bin\r\nlast 🏳️‍🌈 line, no end",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "first  one\n/usr/bin\nlast 🏳️‍🌈 line, no end\n"
    assert len(await client.messages("piped")) == 6


async def test_the_newest_reply_that_streams_is_resumed_by_last(
    server: ServerProcess, client: ChatClient
) -> None:
    async with aclosing(client.send(LONG, conversation_id="last")) as updates:
        reply_id = (await anext(updates)).message_id
    options = ("--url", server.url, "--conversation", "last", "--history", "2", "--resume", "last")
    async with piping(*options) as chat:
        chat.input.close()
        question = (await chat.output.readuntil(b"\nReply  ")).decode()
        assert re.match(rf"You  \d{{4}}-\d\d-\d\d \d\d:\d\d\n{LONG}\n", question)
        assert (await chat.output.readline()).decode().endswith(f"  STREAMING  {reply_id}\n")
        await chat.output.readuntil(b"word0 word1 ")  # In the history, and then as it streams.
        await chat.output.readuntil(b"word0 word1 ")
        stopped = await client.stop(reply_id)
        assert f"word0 word1 {(await chat.output.read()).decode()}" == f"{stopped.content}\n"
        assert await chat.errors.read() == b"The reply was stopped.\n"
        assert await chat.process.wait() == 0


@pytest.mark.parametrize(
    ("options", "lines", "sentence"),
    [
        (["--resume", "nobody's"], "", 'There is no reply "nobody\'s".'),
        (["--resume", "last"], "", "No reply streams in conversation 'errors'."),
        (["--resume"], "", "No reply streams in conversation 'errors'."),
        ([], "/nonsense\n", "/nonsense is not a command; see /help."),
        ([], "\0\n", "content must not contain NUL or a lone surrogate."),
    ],
    ids=["unknown reply", "none is last", "none streams", "unknown command", "refused"],
)
def test_what_cannot_be_done_is_one_line_on_standard_error(
    server: ServerProcess, options: list[str], lines: str, sentence: str
) -> None:
    done = piped("--url", server.url, "--conversation", "errors", *options, lines=lines)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"graphql-app: {sentence}\n"


def test_a_server_that_is_not_there_is_told_after_a_few_attempts() -> None:
    url = "ws://127.0.0.1:9/graphql"
    done = piped(lines="?\n", environment={"GRAPHQL_APP_URL": url})
    assert (done.returncode, done.stdout) == (1, "")
    *attempts, last = done.stderr.splitlines()
    assert len(attempts) == 2
    assert all(
        attempt.startswith("No connection (connection refused); reconnecting in ")
        for attempt in attempts
    )
    assert last == f"graphql-app: Could not connect to {url}: connection refused."


async def test_an_interrupted_pipe_says_how_to_come_back(
    server: ServerProcess, client: ChatClient
) -> None:
    async with piping("--url", server.url, "--conversation", "interrupted") as chat:
        chat.input.write(LONG.encode() + b"\nnever sent\n")
        await chat.output.readuntil(b"word1 ")
        chat.process.send_signal(signal.SIGINT)
        errors = (await chat.errors.read()).decode()
        assert await chat.process.wait() == 130
    _, reply = await client.messages("interrupted")
    assert f"  graphql-app chat --resume {reply.id} --url {server.url}\n" in errors
    await client.stop(reply.id)


async def test_a_reader_that_leaves_ends_the_chat_quietly(
    server: ServerProcess, client: ChatClient
) -> None:
    async with piping("--url", server.url, "--conversation", "no reader") as chat:
        chat.input.write(LONG.encode() + b"\n")
        await chat.output.readuntil(b"word1 ")
        chat.process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
        assert await chat.errors.read() == b""
        assert await chat.process.wait() == 1
    _, reply = await client.messages("no reader")
    await client.stop(reply.id)


def test_help_is_there_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['graphql-app', 'chat', '--help']\n"
        "from graphql_app.cli import app\n"
        "app(standalone_mode=False)\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert "--resume" in done.stdout
    imported = {name.split(".")[0] for name in done.stderr.split()}
    assert "graphql_app" in imported
    assert not imported & {"strawberry", "starlette", "uvicorn", "gql", "graphql", "websockets"}
