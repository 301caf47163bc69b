"""What appending costs on each store, and how late a follower in another process reads.

    python -m benchmarks.stores [--store NAME] [--replies 100] [--rate 50] [--seconds 10]

Two servers share a store. All replies are produced by the first one; its CPU time is what is
printed, in cores. Half of the clients follow at the first, half at the second. Each word says when
it was made, so that the lag of a chunk is the time from its oldest word to the client's hands.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from tests.contracts.backends import BACKENDS
from tests.processes import ServerProcess, serving
from tests.wire import RESUME, SEND, Socket, open_socket

ROOT = Path(__file__).parents[1]


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def two_servers(url: str) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    options = ("--store", url, "--completion", "benchmarks.answers:complete")
    with (
        serving(*options, directory=ROOT) as one,
        serving(*options, directory=ROOT) as other,
    ):
        yield one, other


async def start(socket: Socket, id: str, words: int, per_second: int) -> str:
    """Sends a message and leaves at once; returns the reply's id."""
    message = {"id": id, "content": f"{words} {per_second}", "conversationId": id}
    operation = await socket.subscribe(SEND, {"message": message})
    frame = await socket.receive()
    chunk = frame["payload"]["data"]["sendMessage"]
    await socket.complete(operation)
    return str(chunk["messageId"])


async def follow(socket: Socket, reply_id: str) -> tuple[list[float], str, int]:
    """Follows a reply to its end: the lag of each chunk in seconds, the text, the words."""
    operation = await socket.subscribe(RESUME, {"message": {"id": reply_id, "offset": 0}})
    lags: list[float] = []
    text = ""
    while True:
        frame = await socket.receive()
        if frame["id"] != operation:
            continue
        if frame["type"] != "next":
            return lags, text, len(text.split())
        now = time.monotonic_ns()
        chunk = frame["payload"]["data"]["resumeMessage"]
        assert chunk["offset"] == len(text), "a gap or a duplicate"
        if text and chunk["text"]:
            lags.append((now - int(chunk["text"].split()[0])) / 1e9)
        text += chunk["text"]


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


async def measure(
    servers: tuple[ServerProcess, ServerProcess], replies: int, rate: int, seconds: int
) -> str:
    one, other = servers
    async with AsyncExitStack() as stack:
        sending = await stack.enter_async_context(open_socket(one.url))
        ids = [await start(sending, f"m{n}", rate * seconds, rate) for n in range(replies)]
        sockets = [
            await stack.enter_async_context(open_socket((one, other)[n % 2].url))
            for n in range(replies)
        ]
        before, begin = [cpu_seconds(server.process.pid) for server in servers], time.monotonic()
        found = await asyncio.gather(
            *(follow(socket, id) for socket, id in zip(sockets, ids, strict=True))
        )
        elapsed = time.monotonic() - begin
        cores = [
            (cpu_seconds(server.process.pid) - cpu) / elapsed
            for server, cpu in zip(servers, before, strict=True)
        ]
    assert all(words == rate * seconds for _, _, words in found), "words are missing"
    columns = [f"{cores[0]:.2f}", f"{cores[1]:.2f}"]
    for which in (0, 1):
        lags = [lag for n, (each, _, _) in enumerate(found) for lag in each if n % 2 == which]
        columns += [f"{percentile(lags, part) * 1_000:.0f}" for part in (0.5, 0.99)]
        columns += [f"{rate * seconds * replies / 2 / len(lags):.1f}"]
    return "  ".join(f"{column:>9}" for column in columns)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the stores.")
    stores = [backend for backend in BACKENDS if backend.id != "memory"]
    parser.add_argument("--store", choices=[store.id for store in stores])
    parser.add_argument("--replies", type=int, default=100)
    parser.add_argument("--rate", type=int, default=50, help="words per second and reply")
    parser.add_argument("--seconds", type=int, default=10)
    given = parser.parse_args()
    heads = ["producer", "other", "p50 ms", "p99 ms", "w/chunk", "p50 ms", "p99 ms", "w/chunk"]
    print(f"{'':12}{'cores':>9}{'':>13}{'at the producer':>20}{'':>14}{'elsewhere':>16}")
    print(f"{'':12}" + "  ".join(f"{head:>9}" for head in heads))
    for store in stores:
        if given.store not in (None, store.id):
            continue
        with (
            tempfile.TemporaryDirectory() as folder,
            store.serve(Path(folder)) as url,
            two_servers(url) as servers,
        ):
            row = asyncio.run(measure(servers, given.replies, given.rate, given.seconds))
        print(f"{store.id:12}{row}", flush=True)


if __name__ == "__main__":
    main()
