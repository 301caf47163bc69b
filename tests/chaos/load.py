"""Clients at random: they send, follow, leave, come back, repeat, stop and clear."""

import asyncio
import itertools
import random

from tests.chaos.answers import WORDS, answer
from tests.chaos.clients import Asker, Reader, Window
from tests.chaos.cluster import Cluster, Process
from tests.chaos.history import Drafted, Recorder, Row, Way, now

KEPT = ("c0", "c1", "c2")
"""Conversations that nobody clears: what was shown in them must be there for ever."""

CLEARED = "trash"

PACES = ((8, 10), (30, 25), (30, 50), (60, 15))
"""How many words an answer has, and how many milliseconds lie between two."""

BURST = (400, 0)

PAUSE_SECONDS = 0.1
POLL_SECONDS = 0.1

WAYS = (Way.CONTENT, Way.CONTENT, Way.CONTENT, Way.OFFSET, Way.AGAIN, Way.NOTHING, Way.WRONG)


class Load:
    """Clients who keep a cluster busy until they are told to stop sending.

    Args:
        clients: how many replies are followed at the same time.
        slowness: how many times as long as usual the answers take.
        bursts: whether some answers come all at once.
        clears: whether a client clears one of the conversations now and then.
        prefix: of the ids of messages and conversations, where others were there before.
    """

    def __init__(
        self,
        cluster: Cluster,
        recorder: Recorder,
        chance: random.Random,
        *,
        clients: int,
        slowness: float = 1.0,
        bursts: bool = True,
        clears: bool = True,
        prefix: str = "",
    ) -> None:
        self._cluster = cluster
        self._recorder = recorder
        self._chance = chance
        self._slowness = slowness
        self._paces = (*PACES, BURST) if bursts else PACES
        self._prefix = prefix
        self._cleared = f"{prefix}{CLEARED}"
        kept = tuple(f"{prefix}{conversation}" for conversation in KEPT)
        self._conversations = (*kept, self._cleared) if clears else kept
        self._count = itertools.count()
        self._sends = True
        self._drafts: list[Drafted] = []
        self._windows = [Window(conversation, recorder) for conversation in self._conversations]
        self._stories = [asyncio.create_task(self._client(f"k{n}")) for n in range(clients)]
        self._others = [asyncio.create_task(self._witness(f"w{n}")) for n in range(2)]
        self._window_tasks = [asyncio.create_task(self._show(window)) for window in self._windows]
        if clears:
            self._others.append(asyncio.create_task(self._clearer()))

    async def settle(self, give_up_at: float) -> None:
        """Lets the clients see their replies through; returns when nothing streams any more."""
        self._sends = False
        await self._finish(self._stories, give_up_at)
        await self._cancel(self._others)
        while now() < give_up_at:
            rows = await self._list_all(self._cluster.pick(self._chance))
            if rows is not None and all(row.status != "STREAMING" for row in rows):
                break
            await asyncio.sleep(POLL_SECONDS)

    async def audit(self, give_up_at: float) -> None:
        """Every process says what is stored; the windows are closed when they show the same."""
        stored = None
        for process in self._cluster.running:
            stored = await self._list_all(process) or stored
        while now() < give_up_at:
            shown = [row for window in self._windows for row in window.shown.values()]
            if shown == stored:
                break
            await asyncio.sleep(POLL_SECONDS)
        await self._cancel(self._window_tasks)

    async def _list_all(self, process: Process) -> list[Row] | None:
        """What a process shows of all conversations, if it can."""
        asker = Asker("auditor", self._recorder)
        every: list[Row] = []
        for conversation in self._conversations:
            rows = await asker.list_messages(process, conversation)
            if rows is None:
                return None
            every += rows
        return every

    async def cancel(self) -> None:
        await self._cancel([*self._stories, *self._others, *self._window_tasks])

    async def _finish(self, tasks: "list[asyncio.Task[None]]", give_up_at: float) -> None:
        done, pending = await asyncio.wait(tasks, timeout=max(0, give_up_at - now()))
        await self._cancel(list(pending))
        for task in done:
            task.result()

    async def _cancel(self, tasks: "list[asyncio.Task[None]]") -> None:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    # Clients

    async def _client(self, name: str) -> None:
        while self._sends:
            await self._story(name, self._draft())

    def _draft(self) -> Drafted:
        chance = self._chance
        words, milliseconds = chance.choice(self._paces)
        content = f"{words} {int(milliseconds * self._slowness)} {chance.randrange(10**6)}"
        draft = Drafted(
            message=f"{self._prefix}m{next(self._count)}",
            conversation=chance.choice(self._conversations),
            content=content,
            answer=answer(content),
        )
        self._recorder.add(draft)
        self._drafts.append(draft)
        return draft

    async def _story(self, name: str, draft: Drafted) -> None:
        """What happens around one message."""
        chance = self._chance
        async with asyncio.TaskGroup() as group:
            reader = Reader(name, draft, self._recorder)
            group.create_task(self._read(reader))
            if chance.random() < 0.35:  # Another tab that sends the same, at the same time.
                group.create_task(self._read(Reader(f"{name}b", draft, self._recorder)))
            if chance.random() < 0.35:
                group.create_task(self._read_later(Reader(f"{name}c", draft, self._recorder)))
            if chance.random() < 0.15:
                group.create_task(self._stop(name, reader))
        if chance.random() < 0.25:
            await self._read(Reader(f"{name}d", draft, self._recorder))

    async def _read(self, reader: Reader) -> None:
        """Follows a reply to its end, over many cuts."""
        chance = self._chance
        while not reader.is_over:
            seconds, most_chunks = None, None
            match chance.randrange(4):
                case 0:
                    seconds = chance.expovariate(2)
                case 1:
                    most_chunks = chance.randrange(1, 8)
            is_open = await reader.follow(
                self._cluster.pick(chance),
                Way.SEND if reader.reply is None else chance.choice(WAYS),
                seconds=seconds,
                most_chunks=most_chunks,
                made_up=reader.content[: chance.randrange(20)] + chance.choice(WORDS),
            )
            if not is_open or chance.random() < 0.2:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _read_later(self, reader: Reader) -> None:
        await asyncio.sleep(self._chance.random() * self._slowness)
        await self._read(reader)

    async def _stop(self, name: str, reader: Reader) -> None:
        """Stops the reply at a random time, by either id."""
        await asyncio.sleep(self._chance.random() * self._slowness)
        id = self._chance.choice([reader.draft.message, reader.reply or reader.draft.message])
        await Asker(f"{name}s", self._recorder).stop(
            self._cluster.pick(self._chance), id, reader.draft.message
        )

    async def _clearer(self) -> None:
        asker = Asker("clearer", self._recorder)
        while True:
            await asyncio.sleep(self._chance.uniform(0.5, 2.0) * self._slowness)
            await asker.clear(self._cluster.pick(self._chance), self._cleared)
            sent = [draft for draft in self._drafts if draft.conversation == self._cleared]
            if sent:
                reader = Reader("revenant", self._chance.choice(sent), self._recorder)
                await reader.follow(self._cluster.pick(self._chance), seconds=2)

    async def _witness(self, name: str) -> None:
        """Looks at the lists, now here and now there."""
        asker = Asker(name, self._recorder)
        while True:
            await asker.list_messages(
                self._cluster.pick(self._chance), self._chance.choice(self._conversations)
            )
            await asyncio.sleep(self._chance.random() / 2)

    async def _show(self, window: Window) -> None:
        while True:
            await window.follow(self._cluster.pick(self._chance))
            await asyncio.sleep(PAUSE_SECONDS)
