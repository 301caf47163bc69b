"""A TCP proxy on loopback that cuts, stalls and counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class CuttingProxy:
    """Forwards connections to a port, until told otherwise."""

    def __init__(self, target_port: int) -> None:
        self.connections = 0
        self.forwarded_bytes = 0
        self.port = 0
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._progress = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/graphql"

    def cut_connections(self) -> None:
        """Resets every connection, without a goodbye."""
        for writer in list(self._open):
            writer.transport.abort()

    async def until_forwarded(self, more_bytes: int) -> None:
        """Returns when clients were sent so many more bytes than when this was called."""
        goal = self.forwarded_bytes + more_bytes
        async with self._progress:
            await self._progress.wait_for(lambda: self.forwarded_bytes >= goal)

    def stall(self) -> None:
        """Forwards nothing any more, and keeps the connections open."""
        self._flows.clear()

    def resume(self) -> None:
        """Forwards again."""
        self._flows.set()

    async def refuse_connections(self) -> None:
        """Cuts everything and does not listen any more."""
        assert self._server is not None
        self._server.close()
        self.cut_connections()

    async def accept_connections(self) -> None:
        """Listens, at the same port as before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        await self.refuse_connections()
        self._flows.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        for source, sink, other in (
            (reader, to_writer, writer),
            (to_reader, writer, to_writer),
        ):
            task = asyncio.create_task(self._forward(source, sink, other, client=writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        other: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> None:
        self._open.add(sink)
        try:
            with suppress(OSError):
                while data := await source.read(65_536):
                    await self._flows.wait()
                    sink.write(data)
                    await sink.drain()
                    if sink is client:
                        await self._note(len(data))
        finally:
            self._open.discard(sink)
            sink.close()
            other.close()

    async def _note(self, size: int) -> None:
        async with self._progress:
            self.forwarded_bytes += size
            self._progress.notify_all()


@asynccontextmanager
async def cutting_proxy(target_port: int) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(target_port)
    await proxy.accept_connections()
    try:
        yield proxy
    finally:
        await proxy.close()
