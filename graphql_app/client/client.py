"""What a client can do, across connections that break."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from gql import GraphQLRequest

from graphql_app.client.connection import Connection, ConnectionChange, CutError, Token
from graphql_app.client.documents import (
    CLEAR,
    CONVERSATIONS,
    EVENTS,
    MESSAGES,
    ONE_MESSAGE,
    REGENERATE,
    REPLIES,
    RESUME,
    SEND,
    STOP,
    with_variables,
)
from graphql_app.client.errors import CONNECTION_LOST, ChatClientError
from graphql_app.client.reply import GapError, ReplyText, Update
from graphql_app.client.results import conversation_from, event_from, message_from
from graphql_app.client.retry import Backoff, Retry
from graphql_app.client.transport import MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES, Transport
from graphql_app.messages import Conversation, Message, MessageChanged, MessagesReset

DEFAULT_URL: Final = "ws://127.0.0.1:3000/graphql"
DEFAULT_CONVERSATION: Final = "default"


class ChatClient:
    """A connection to the chat that survives being cut.

        import asyncio
        from graphql_app.client import ChatClient

        async def main() -> None:
            async with ChatClient("ws://127.0.0.1:3000/graphql") as client:
                async for update in client.send("Hello!"):
                    print(update.text, end="", flush=True)
                print(f"\\n[{update.status}]")

        asyncio.run(main())

    Every method raises `ChatClientError` for what the server refuses, and when the connection
    cannot be had within the bounds of `retry`. Cancelling any of them is safe. Leaving an iterator,
    or closing the client, detaches only: the reply goes on.

    Args:
        url: where the server takes sockets, ws:// or wss://.
        token: who this is, for a server that wants to know; or what is asked for it, anew for each
            connection. Then an expired token is replaced, and what was going on goes on; a second
            refusal in a row is CONNECTION_REFUSED. What it raises, the caller of a method gets.
        init_payload: what else connection_init carries.
        headers: of the handshake.
        retry: how a connection is made again.
        ping_seconds: how often the server is asked for a sign of life, and how long it may take.
        max_message_bytes: the largest frame to receive; None for any.
        max_request_bytes: the largest frame to send. Not every network lets the answer through that
            a larger one gets from the server, and the client would try again and again.
        on_connection: is told when the connection is made, lost, and tried again.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: Token | None = None,
        init_payload: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        ping_seconds: float = 5.0,
        max_message_bytes: int | None = MAX_MESSAGE_BYTES,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        on_connection: Callable[[ConnectionChange], None] | None = None,
    ) -> None:
        self.url = url
        self._retry = retry or Retry()
        with_options = partial(
            Transport,
            url,
            headers=dict(headers or {}),
            ping_seconds=ping_seconds,
            max_message_bytes=max_message_bytes,
            max_request_bytes=max_request_bytes,
        )

        def new_transport(token: str | None) -> Transport:
            payload = dict(init_payload or {})
            if token is not None:
                payload["authorization"] = f"Bearer {token}"
            return with_options(init_payload=payload)

        self._connection = Connection(url, new_transport, self._retry, on_connection, token)

    async def __aenter__(self) -> "ChatClient":
        try:
            await self._connection.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection. What still iterates gets CLIENT_CLOSED; replies go on."""
        await self._connection.close()

    # Sending and following.

    async def send(
        self,
        content: str,
        *,
        id: str | None = None,
        conversation_id: str = DEFAULT_CONVERSATION,
    ) -> AsyncGenerator[Update, None]:
        """Sends a message, once it is iterated, and follows the reply to its end.

        The last update, and only it, has a final status. Sending one id again, with the same
        content, joins the reply.

        Args:
            id: made with uuid4 if not given.
        """
        message = {
            "id": id or str(uuid.uuid4()),
            "content": content,
            "conversationId": conversation_id,
        }
        request = with_variables(SEND, {"message": message})
        async with aclosing(self._follow(ReplyText(), request)) as updates:
            async for update in updates:
                yield update

    async def regenerate(
        self, message_id: str, *, id: str | None = None
    ) -> AsyncGenerator[Update, None]:
        """Asks for another reply to a user's message, once it is iterated, and follows it.

        It takes the place of the newest one, which must have ended. Asking with one id again joins
        the reply.

        Args:
            message_id: the user's message, or one of its replies.
            id: the new reply's; made with uuid4 if not given.
        """
        message = {"id": id or str(uuid.uuid4()), "messageId": message_id}
        request = with_variables(REGENERATE, {"message": message})
        async with aclosing(self._follow(ReplyText(), request)) as updates:
            async for update in updates:
                yield update

    async def follow(
        self, reply_id: str, *, content: str | None = None
    ) -> AsyncGenerator[Update, None]:
        """Follows a reply to its end, from where `content` stops being right.

        Args:
            content: the text that is there already; the first update says what to change.
        """
        async with aclosing(self._follow(ReplyText(reply_id, content or ""))) as updates:
            async for update in updates:
                yield update

    async def events(
        self, conversation_id: str = DEFAULT_CONVERSATION, *, last: int | None = None
    ) -> AsyncGenerator[MessagesReset | MessageChanged, None]:
        """A conversation as it is, and then as it changes, without end.

        Begins with a `MessagesReset`, and so it does again whenever changes may have been missed.

        Args:
            last: how many messages a reset has at most; the server's limit if not said.
        """
        request = with_variables(EVENTS, {"conversationId": conversation_id, "last": last})
        patience = Backoff(self._retry)
        while True:
            try:
                async with aclosing(self._connection.results(request)) as results:
                    async for data in results:
                        event = event_from(data["conversationEvents"])
                        if isinstance(event, MessageChanged):
                            patience.reset()
                        if event is not None:
                            yield event
            except CutError:
                continue  # Connecting again has delays of its own.
            await self._pause(patience)

    # Asking and changing.

    async def messages(
        self,
        conversation_id: str = DEFAULT_CONVERSATION,
        *,
        last: int | None = None,
        before: str | None = None,
    ) -> list[Message]:
        """A conversation's messages, oldest first: the `last` of those older than `before`."""
        variables = {"conversationId": conversation_id, "last": last, "before": before}
        data = await self._execute(with_variables(MESSAGES, variables))
        return [message_from(message) for message in data["messages"]]

    async def message(self, id: str) -> Message | None:
        """A message as it is now; None if there is none."""
        found = (await self._execute(with_variables(ONE_MESSAGE, {"id": id})))["message"]
        return None if found is None else message_from(found)

    async def replies(self, id: str) -> list[Message]:
        """All replies to a user's message, oldest first; lists have only the last of them."""
        found = (await self._execute(with_variables(REPLIES, {"id": id})))["message"]
        return [] if found is None else [message_from(reply) for reply in found["replies"]]

    async def conversations(self, first: int | None = None) -> list[Conversation]:
        """The conversations that have messages, the most recently used first."""
        data = await self._execute(with_variables(CONVERSATIONS, {"first": first}))
        return [conversation_from(conversation) for conversation in data["conversations"]]

    async def stop(self, id: str) -> Message:
        """Ends a reply now and returns it; one that has ended stays as it is.

        Args:
            id: the reply's, or that of the message it answers.
        """
        data = await self._execute(with_variables(STOP, {"id": id}))
        return message_from(data["stopMessage"])

    async def clear(self, conversation_id: str = DEFAULT_CONVERSATION) -> int:
        """Removes a conversation's messages and ends what streams in it; returns how many.

        If the connection breaks before the answer is there, this is not repeated, since it would
        take away what was sent meanwhile: it raises CONNECTION_LOST, and both may be true.
        """
        request = with_variables(CLEAR, {"conversationId": conversation_id})
        try:
            result = await self._execute_once(request)
        except CutError:
            result = None
        if result is None:
            raise ChatClientError(
                CONNECTION_LOST,
                "The connection broke before the answer came; whether it was done is unknown.",
            )
        removed: int = result["clearMessages"]
        return removed

    # Operations across connections.

    async def _follow(
        self, reply: ReplyText, first: GraphQLRequest | None = None
    ) -> AsyncGenerator[Update, None]:
        """Follows a reply; while its id is not known, by the request that makes it."""
        patience = Backoff(self._retry)
        while True:
            if reply.message_id is None:
                assert first is not None
                request = first
            else:
                resume = {"id": reply.message_id, "content": reply.content}
                request = with_variables(RESUME, {"message": resume})
            try:
                async with aclosing(self._connection.results(request)) as results:
                    async for data in results:
                        [chunk] = data.values()
                        update = reply.apply(chunk)
                        if update is None:
                            continue
                        yield update
                        if update.status.is_final:
                            return
                        if update.text:
                            patience.reset()
            except CutError:
                continue  # Connecting again has delays of its own.
            except GapError:
                pass  # A resume brings what was lost.
            await self._pause(patience)

    async def _execute(self, request: GraphQLRequest) -> dict[str, Any]:
        """The result of something that may be repeated."""
        patience = Backoff(self._retry)
        while True:
            try:
                result = await self._execute_once(request)
            except CutError:
                continue  # Connecting again has delays of its own.
            if result is not None:
                return result
            await self._pause(patience)

    async def _execute_once(self, request: GraphQLRequest) -> dict[str, Any] | None:
        """The one result of a query or a mutation; None if it completed without any."""
        async with aclosing(self._connection.results(request, send_stop=False)) as results:
            async for data in results:
                return data
        return None

    async def _pause(self, patience: Backoff) -> None:
        """Waits before an operation that was cut, while the connection lives, is tried again."""
        delay = patience.next_delay()
        if delay is None:
            raise ChatClientError(
                CONNECTION_LOST, "The server keeps ending the operation without a result."
            )
        await asyncio.sleep(delay)
