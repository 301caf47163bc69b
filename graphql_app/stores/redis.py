"""The Redis store: atomic steps in Lua, and one connection for the news of all processes.

    append, read, replies, looks for events ─▶ groups ─┐
    all else ──────────────────────────────────────────┴─▶ lanes ─▶ redis.lua
                         watchers ◀─ the News of each process ◀─ PUBLISH ◀─┘

What is kept where is drawn at the top of redis.lua. What was written survives a killed process, the
server's too; what it survives of a power loss is for the server's `appendfsync` to say.
"""

import asyncio
import itertools
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis, Sentinel, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff

from graphql_app.errors import (
    ConfigurationError,
    FencedError,
    MessageClearedError,
    MessageIdConflictError,
    MessageNotFoundError,
    ReplyStreamingError,
    StoreUnavailableError,
)
from graphql_app.interfaces import (
    PRODUCER_LOST,
    Added,
    Draft,
    Events,
    Lease,
    ReplyDraft,
    Slice,
    Topic,
)
from graphql_app.messages import (
    Conversation,
    ConversationRef,
    Message,
    MessageChanged,
    MessagesReset,
    Ref,
    ReplyError,
    ReplyErrorCode,
    Role,
    Status,
    Usage,
)
from graphql_app.stores.condition import Condition, timed
from graphql_app.stores.grouping import Grouped
from graphql_app.stores.outage import Outage
from graphql_app.stores.rules import (
    EVENTS_IN_A_READ,
    TITLE_FROM,
    milliseconds,
    the_same_reply,
    title_of,
    usage_kept,
    usage_of,
)
from graphql_app.stores.urls import flag, kept_for, port_of, split_options, without_password
from graphql_app.stores.watchers import Watchers, split_names, topic_name

T = TypeVar("T")

SCRIPT = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")
OLDEST_VERSION = (7, 0)

ANSWER_SECONDS = 3.0
"""How long a call may take, with waiting for a connection and making it."""

SENTINEL_SECONDS = 0.5
"""How long one Sentinel may take, so that a call has time to ask others."""

LANES: dict[tuple[str, ...], int] = {
    ("register", "renew", "lose", "sweep"): 2,  # A sweep does not hold up a renewal.
    ("append",): 1,
    ("read",): 1,
    ("changed",): 1,
    ("add", "add_reply", "finish", "clear"): 5,
    (): 6,
}
"""How many calls of these operations, and of all others, may be under way; further ones wait, but
not behind those of another lane."""

WRITES = {"register", "renew", "add", "add_reply", "append", "finish"}
"""Operations that hardly ever succeed without writing."""

APPEND_REST_SECONDS = 0.01
"""How long appends gather for the next call."""

GROUP_ITEMS = 1_000
GROUP_BYTES = 1_048_576
"""About the most that one call appends or reads: it holds up everybody who uses the server."""

SWEEP_ITEMS = 100
SWEEP_CALLS = 50
"""How much a sweep does in one call, and in all; the rest is for the next sweep."""

HEARTBEAT_SECONDS = 1.5
"""The silence after which the connection for news must show that it is alive, in as long again."""

POLL_SECONDS = 0.25
"""How often watchers are woken while there is no connection for news."""

RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between the tries to get that connection back; the last one repeats."""

MASTER_SECONDS = 1.0
"""How often Sentinels are asked which server is the master."""

AWAY = {"BUSY", "LOADING", "MASTERDOWN", "MISCONF", "NOPERM", "NOREPLICAS", "OOM", "READONLY"}
"""Errors of the server, by their first word, that are about its state and not about the call."""

REFUSALS = (exceptions.AuthenticationError, exceptions.NoPermissionError)
"""What the server says to those whom it will not serve, however often they ask."""

CONNECTION: dict[str, Any] = {
    "protocol": 2,
    "driver_info": None,
    "retry": Retry(NoBackoff(), 1),  # A connection that rested in the pool may be dead.
    "socket_connect_timeout": ANSWER_SECONDS,
    "socket_timeout": None,  # ANSWER_SECONDS hold for a call as a whole.
}

PLACE = re.compile(
    r"""
    redis(?P<tls>s?)(?P<sentinel>\+sentinel)?://
    (?:(?P<username>[^:@/]*)(?::(?P<password>[^/]*))?@)?
    (?P<hosts>[^@/]*)
    (?(sentinel)/(?P<service>[^/]+))
    (?:/(?P<database>[0-9]{0,5}))?
    """,
    re.VERBOSE,
)
HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(?P<port>[^:]*))?")

TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "ssl_password",
)
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOST = (PRODUCER_LOST.code.value, PRODUCER_LOST.message)


def from_url(url: str) -> "RedisStore":
    """The store for a Redis server, or for the one that Sentinels call the master.

        redis://[[user]:password@]host[:6379][/database]
        redis+sentinel://[[user]:password@]host[:26379][,host[:26379]...]/service[/database]

    With `rediss` in place of `redis`, connections use TLS, those to Sentinels too. User and
    password are for the server; the Sentinels' are `sentinel_username` and `sentinel_password`.

    Of the other options, `ttl` is how long replies are kept after their end, `volatile=1` accepts
    a server that may lose what it has, and TLS_OPTIONS mean what they mean to redis-py.

    Raises:
        ConfigurationError: the URL says something else.
    """
    base, options = split_options(url, "ttl", "volatile", *TLS_OPTIONS, *SENTINEL_OPTIONS)
    base, _, unknown = base.partition("?")
    place = PLACE.fullmatch(base)
    hosts = [HOST.fullmatch(host) for host in place["hosts"].split(",")] if place else [None]
    if place is None or None in hosts or (len(hosts) > 1 and not place["service"]):
        raise ConfigurationError(
            f"store: {without_password(url)!r} is not understood; use "
            "redis://user:password@host:6379/0 or "
            "redis+sentinel://user:password@host:26379,host:26379/service/0."
        )
    allowed = ["ttl", "volatile"]
    allowed += TLS_OPTIONS if place["tls"] else ()
    allowed += SENTINEL_OPTIONS if place["service"] else ()
    for name in (*options, *(option.partition("=")[0] for option in unknown.split("&") if option)):
        if name not in allowed:
            raise ConfigurationError(
                f"store: {name} is no option of {base.partition(':')[0]}://, "
                f"which takes {', '.join(allowed)}."
            )
    usual_port = 26379 if place["service"] else 6379
    addresses = [
        (
            host["name"].strip("[]"),
            usual_port if host["port"] is None else port_of(host["port"], url),
        )
        for host in hosts
        if host
    ]
    pool, sentinel = _pool(place, addresses, options)
    return RedisStore(
        pool,
        sentinel,
        shown=without_password(base),
        channel=f"graphql_app:news:{place['database'] or 0}",
        keep=kept_for(options),
        is_volatile=flag(options, "volatile"),
    )


def _pool(
    place: re.Match[str], addresses: list[tuple[str, int]], options: dict[str, str]
) -> tuple[ConnectionPool, Sentinel | None]:
    """Connections to a server, and the Sentinels that say which it is."""
    tls: dict[str, Any] = {name: options[name] for name in TLS_OPTIONS if name in options}
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = flag(options, "ssl_check_hostname")
    settings = {
        **CONNECTION,
        **tls,
        "username": unquote(place["username"] or "") or None,
        "password": unquote(place["password"] or "") or None,
        "db": int(place["database"] or 0),
    }
    if not place["service"]:
        [(host, port)] = addresses
        if place["tls"]:
            settings["connection_class"] = SSLConnection
        return ConnectionPool(host=host, port=port, **settings), None
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        addresses,
        sentinel_kwargs={
            **CONNECTION,
            **tls,
            "ssl": bool(place["tls"]),
            "username": options.get("sentinel_username"),
            "password": options.get("sentinel_password"),
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": SENTINEL_SECONDS,
            "socket_timeout": SENTINEL_SECONDS,
        },
    )
    settings["connection_class"] = (
        SentinelManagedSSLConnection if place["tls"] else SentinelManagedConnection
    )
    service = unquote(place["service"])
    pool = SentinelConnectionPool(service, sentinel, **settings)  # type: ignore[no-untyped-call]
    return pool, sentinel


class _Append(NamedTuple):
    reply: Ref
    lease: Lease
    at_offset: int
    text: bytes


class RedisStore:
    """Messages in a Redis server, for any number of processes."""

    shared = True
    immediate = None
    poll_seconds = 5.0  # A safety net: every change wakes its watchers.

    def __init__(
        self,
        pool: ConnectionPool,
        sentinel: Sentinel | None,
        *,
        shown: str,
        channel: str,
        keep: timedelta | None,
        is_volatile: bool,
    ) -> None:
        self._shown = shown
        self.pool = pool
        """Its connections, for others who count something there."""
        self._keep = "" if keep is None else str(int(keep.total_seconds() * 1000))
        self._is_volatile = is_volatile
        self._watchers: Watchers[str] = Watchers()
        self._server = _Server(pool, channel, Outage(shown))
        self._news = _News(pool, channel, self._watchers, Outage(f"{shown} (its news)"))
        self._master = None
        if isinstance(pool, SentinelConnectionPool) and sentinel is not None:
            self._master = _Master(pool, sentinel, self._news)
        self._appends = Grouped(
            self._append_all, rest_seconds=APPEND_REST_SECONDS, most=GROUP_ITEMS
        )
        self._reads = Grouped(self._read_all, most=GROUP_ITEMS)
        self._replies = Grouped(self._replies_all, most=GROUP_ITEMS)
        self._looks = Grouped(self._changed_all, most=GROUP_ITEMS)

    # Opening and closing.

    async def open(self) -> None:
        """As the seam says.

        Raises:
            ConfigurationError: the server is none for messages, or refuses us.
        """
        try:
            self._server.open()
            self._check(await self._server.info())
            await self._server.answer(self._news.open)
            if self._master is not None:
                self._master.open()
        except BaseException as error:
            await self.close()
            if (refusal := self._refusal(error)) is not None:
                raise refusal from error
            raise

    async def examine(self) -> Condition:
        """As `Examinable` says."""
        try:
            self._server.open()
            info = await self._server.info()
            self._check(info)
            settings = await self._server.settings("appendfsync")
            trip, lead = await timed(self._server.time)
        except Exception as error:
            if (refusal := self._refusal(error)) is not None:
                raise refusal from error
            raise
        finally:
            await self.close()
        return Condition(trip, lead, remarks=tuple(_remarks(info, settings)))

    def _refusal(self, error: BaseException) -> ConfigurationError | None:
        """What an error means that comes from a server which will never serve us."""
        cause = error.__cause__ or error
        if isinstance(cause, REFUSALS) or isinstance(error, exceptions.ResponseError):
            reason = str(cause).rstrip(".")
            return ConfigurationError(f"store: {self._shown!r} refuses us: {reason}.")
        return None

    def _check(self, info: dict[str, Any]) -> None:
        """Refuses a server that cannot keep messages, or not as well as the URL wants it."""
        if info.get("redis_mode") == "sentinel":
            raise self._unfit("is a Sentinel", "redis+sentinel://host:26379/service")
        if info.get("cluster_enabled"):
            raise self._unfit(
                "is a Redis Cluster, which is not supported", "a single Redis or Redis Sentinel"
            )
        version = str(info["redis_version"])
        if tuple(map(int, version.split(".")[:2])) < OLDEST_VERSION:
            raise self._unfit(f"is Redis {version}", "7.0 or newer")
        if info.get("role") == "slave" and self._master is None:
            raise self._unfit("is a replica", "its primary, or redis+sentinel://host:26379/service")
        if self._is_volatile:
            return
        if not info.get("aof_enabled"):
            raise self._unfit(
                "would forget messages when it ends", "`appendonly yes` there, or ?volatile=1"
            )
        if info.get("maxmemory_policy") != "noeviction":
            raise self._unfit(
                "would drop messages when its memory is full",
                "`maxmemory-policy noeviction` there, or ?volatile=1",
            )

    def _unfit(self, reason: str, way_out: str) -> ConfigurationError:
        return ConfigurationError(f"store: {self._shown!r} {reason}; use {way_out}.")

    async def close(self) -> None:
        """As the seam says. Calls that are under way fail."""
        await self._server.end_calls()
        if self._master is not None:
            await self._master.close()
        await self._news.close()
        await self._appends.close()
        await self._reads.close()
        await self._replies.close()
        await self._looks.close()
        await self._server.close()

    async def ping(self) -> None:
        await self._server.ping()

    # Leases.

    async def register(self, lease_seconds: float) -> Lease:
        id = uuid.uuid4().hex
        topic = topic_name(Lease(id, 0))  # The epoch is no part of it.
        [epoch] = await self._server.ask("register", id, id, topic, round(lease_seconds * 1000))
        return Lease(id, epoch)

    async def renew(self, lease: Lease, number: int, running: AbstractSet[Ref]) -> AbstractSet[Ref]:
        [found] = await self._server.ask("renew", lease.id, _lease_name(lease))
        # What streams is fetched, not what runs sent: it tells the orphans apart too.
        pairs = iter(json.loads(found))
        streaming = {name: int(renewals) for name, renewals in zip(pairs, pairs, strict=True)}
        names = {_name(ref): ref for ref in running}
        orphans = [
            name for name, renewals in streaming.items() if name not in names and renewals < number
        ]
        for begin in range(0, len(orphans), SWEEP_ITEMS):
            some = orphans[begin : begin + SWEEP_ITEMS]
            await self._server.ask("lose", lease.id, _lease_name(lease), *LOST, *some)
        return {ref for name, ref in names.items() if name not in streaming}

    async def sweep(self) -> int:
        lost = 0
        for _ in range(SWEEP_CALLS):
            some, more = await self._server.ask("sweep", "", *LOST, self._keep, SWEEP_ITEMS)
            lost += some
            if not more:
                break
        return lost

    # Writing.

    async def add(self, draft: Draft, lease: Lease) -> Added:
        [id] = await self._server.ask(
            "add",
            draft.message.id,
            _lease_name(lease),
            _name(draft.conversation),
            topic_name(draft.conversation),
            _name(draft.message),
            _encoded(draft.content),
            _name(draft.reply),
            topic_name(draft.reply),
            draft.renewals,
        )
        reply = Ref(draft.message.owner, id.decode())
        return Added(reply, created=reply == draft.reply)

    async def add_reply(self, draft: ReplyDraft, lease: Lease) -> Added:
        question, reply_to, token = await self._server.ask(
            "add_reply",
            draft.message.id,
            _lease_name(lease),
            _name(draft.message),
            _name(draft.reply),
            topic_name(draft.reply),
            draft.renewals,
            draft.token,
        )
        return the_same_reply(
            draft,
            question.decode(),
            reply_to=reply_to and reply_to.decode(),
            token=token and token.decode(),
        )

    async def append(self, ref: Ref, lease: Lease, at_offset: int, text: str) -> None:
        await self._appends(_Append(ref, lease, at_offset, _encoded(text)))

    async def _append_all(self, appends: Sequence[_Append]) -> list[Exception | None]:
        results: list[Exception | None] = []
        for some in _portions(appends):
            heads = [(_name(ref), _lease_name(lease), at) for ref, lease, at, _ in some]
            texts = (append.text for append in some)
            [outcomes] = await self._server.ask("append", "", json.dumps(heads), *texts)
            for append, (word, *details) in zip(some, json.loads(outcomes), strict=True):
                is_done = word == "ok"
                results.append(None if is_done else _refusal(append.reply.id, word, *details))
        return results

    async def finish(
        self,
        ref: Ref,
        status: Status,
        *,
        lease: Lease | None = None,
        at_offset: int | None = None,
        text: str = "",
        error: ReplyError | None = None,
        usage: Usage | None = None,
    ) -> Message:
        records, texts = await self._server.ask(
            "finish",
            ref.id,
            _name(ref),
            status.value,
            *((error.code.value, error.message) if error else ("", "")),
            "" if lease is None else _lease_name(lease),
            "" if at_offset is None else at_offset,
            _encoded(text),
            _usage_json(usage),
        )
        [message] = _messages(records, texts)
        return message

    async def clear(self, conversation: ConversationRef) -> int:
        [count] = await self._server.ask("clear", conversation.id, _name(conversation))
        return int(count)

    # Reading.

    async def read(self, ref: Ref, after_offset: int) -> Slice:
        return await self._reads((ref, after_offset))

    async def _read_all(self, reads: Sequence[tuple[Ref, int]]) -> list[Slice | Exception]:
        results: dict[tuple[Ref, int], Slice | Exception] = {}
        wanted = list(dict.fromkeys(reads))  # Many may follow one reply from the same offset.
        while rest := wanted[len(results) :]:
            heads = [(_name(ref), after_offset) for ref, after_offset in rest]
            outcomes, texts = await self._server.ask("read", "", json.dumps(heads), GROUP_BYTES)
            # There may be fewer than were asked for, if they are long.
            found = zip(rest, json.loads(outcomes), texts, strict=False)
            for read, (word, *details), text in found:
                is_there = word == "ok"
                results[read] = _slice(text, *details) if is_there else _refusal(read[0].id, word)
        return [results[read] for read in reads]

    async def message(self, ref: Ref) -> Message | None:
        try:
            records, texts = await self._server.ask("message", ref.id, _name(ref))
        except MessageNotFoundError:
            return None
        [message] = _messages(records, texts)
        return message

    async def newest_reply(self, ref: Ref) -> Ref:
        [id] = await self._server.ask("newest_reply", ref.id, _name(ref))
        return Ref(ref.owner, id.decode())

    async def messages(
        self, conversation: ConversationRef, last: int, before: Ref | None
    ) -> tuple[Message, ...]:
        records, texts = await self._server.ask(
            "messages",
            "" if before is None else before.id,
            _name(conversation),
            "" if before is None else before.id,
            last,
        )
        return _messages(records, texts)

    async def replies(self, ref: Ref, last: int) -> tuple[Message, ...]:
        # Whoever shows a list asks for the replies to each message in it.
        return await self._replies((ref, last))

    async def _replies_all(self, looks: Sequence[tuple[Ref, int]]) -> list[tuple[Message, ...]]:
        results: dict[tuple[Ref, int], tuple[Message, ...]] = {}
        wanted = list(dict.fromkeys(looks))
        while rest := wanted[len(results) :]:
            heads = [(_name(ref), last) for ref, last in rest]
            [found] = await self._server.ask("replies", "", json.dumps(heads), GROUP_BYTES)
            # There may be fewer than were asked for, if they are long.
            for look, (records, texts) in zip(rest, found, strict=False):
                results[look] = _messages(records, texts)
        return [results[look] for look in looks]

    async def conversations(self, owner: str, first: int) -> tuple[Conversation, ...]:
        # One code unit more than a title is made from, and one for its other half.
        found, beginnings = await self._server.ask(
            "conversations", "", _owner(owner), first, TITLE_FROM + 2
        )
        return tuple(
            Conversation(
                id=id,
                title=title_of(_decoded_head(beginning)),
                created_at=_time(created),
                updated_at=_time(updated),
            )
            for (id, created, updated), beginning in zip(json.loads(found), beginnings, strict=True)
        )

    async def history(self, reply: Ref) -> tuple[Message, ...]:
        records, texts = await self._server.ask("history", reply.id, _name(reply))
        return _messages(records, texts)

    async def events(self, conversation: ConversationRef, cursor: int | None, last: int) -> Events:
        # Thousands of windows may look at the same moment, and mostly nothing has happened.
        if cursor is not None and not await self._looks((conversation, cursor)):
            return Events((), cursor)
        is_reset, cursor, more, records, texts = await self._server.ask(
            "events",
            conversation.id,
            _name(conversation),
            "" if cursor is None else cursor,
            last,
            EVENTS_IN_A_READ,
        )
        messages = _messages(records, texts)
        if is_reset:
            return Events((MessagesReset(conversation.id, messages),), cursor)
        return Events(tuple(map(MessageChanged, messages)), cursor, more=bool(more))

    async def _changed_all(self, looks: Sequence[tuple[ConversationRef, int]]) -> list[bool]:
        wanted = list(dict.fromkeys(looks))  # Many windows may show one conversation.
        # As text: a number of JSON is not exact enough on its way back to Redis.
        heads = [(_name(conversation), str(cursor)) for conversation, cursor in wanted]
        [outcomes] = await self._server.ask("changed", "", json.dumps(heads))
        results = dict(zip(wanted, map(bool, outcomes), strict=True))
        return [results[look] for look in looks]

    def watch(self, topic: Topic, wake: Callable[[], None]) -> Callable[[], None]:
        return self._watchers.add(topic_name(topic), wake)


def _remarks(info: dict[str, Any], settings: dict[str, str]) -> Iterator[tuple[str, str]]:
    if not info.get("aof_enabled"):
        yield (
            "Redis forgets everything when it ends (the URL says ?volatile=1).",
            "Set `appendonly yes` there if messages are to be kept.",
        )
    elif settings.get("appendfsync") == "no":
        yield (
            "Redis leaves it to the system when to write its file (appendfsync no): a loss of "
            "power may take half a minute.",
            "Set `appendfsync everysec` there, or `always`.",
        )
    if info.get("aof_last_write_status", "ok") != "ok":
        yield "Redis could not write its file the last time.", "Look at its disk and its log."
    most, used = info.get("maxmemory", 0), info.get("used_memory", 0)
    if most and used > 0.8 * most:
        yield (
            f"Redis uses {used / most:.0%} of the memory that it may (maxmemory); when it has all, "
            "it takes no message any more.",
            "Give it more, or let replies expire with ?ttl=.",
        )


class _Server:
    """The server, as far as it is called: by so many at a time in each lane, and for so long."""

    def __init__(self, pool: ConnectionPool, channel: str, outage: Outage) -> None:
        self._pool = pool
        self._channel = channel
        self._outage = outage
        self._redis = Redis(connection_pool=pool)
        self._script = self._redis.register_script(SCRIPT)
        self._is_open = False
        self._writes_fail = False
        lanes = {operations: asyncio.Semaphore(calls) for operations, calls in LANES.items()}
        self._others = lanes.pop(())
        self._lanes = {name: lane for operations, lane in lanes.items() for name in operations}
        self._deadlines: set[asyncio.Timeout] = set()

    def open(self) -> None:
        self._is_open = True

    async def end_calls(self) -> None:
        """Makes the calls that are under way fail, and those that come."""
        self._is_open = False
        while self._deadlines:
            for deadline in self._deadlines:
                if not deadline.expired():
                    deadline.reschedule(0)
            await asyncio.sleep(0)

    async def close(self) -> None:
        with suppress(exceptions.RedisError):  # The server need not say goodbye.
            await self._pool.aclose()

    async def info(self) -> dict[str, Any]:
        return await self.answer(self._redis.info)

    async def settings(self, *names: str) -> dict[str, str]:
        """Settings of the server; none where it does not tell them, as managed ones do."""
        with suppress(exceptions.ResponseError):
            found = await self.answer(lambda: self._redis.config_get(*names))
            return {str(name): str(value) for name, value in found.items()}
        return {}

    async def time(self) -> float:
        """What its clock says, in seconds since 1970."""
        seconds, microseconds = await self.answer(self._redis.time)
        return float(seconds + microseconds / 1_000_000)

    async def ping(self) -> None:
        await self.answer(self._redis.ping)

    async def ask(self, operation: str, about: str, *arguments: str | bytes | int) -> list[Any]:
        """What an operation of redis.lua returns; what it refuses is raised, about that id."""
        answer: list[Any] = await self.answer(
            lambda: self._script(args=(self._channel, operation, *arguments)), operation
        )
        if answer[0] != b"ok":
            raise _refusal(about, *(word.decode() for word in answer))
        return answer[1:]

    async def answer(self, call: Callable[[], Awaitable[T]], operation: str = "") -> T:
        """What the server answers to a call, which waits in the lane of its operation.

        A call that is cancelled or takes too long has its connection closed, so that its answer is
        not taken for another's. Trying once more at once, as redis-py does, is harmless: so is
        every repetition.

        Raises:
            StoreUnavailableError: it cannot be reached, or can do nothing for anybody.
        """
        if not self._is_open:
            raise StoreUnavailableError
        deadline = asyncio.timeout(ANSWER_SECONDS)
        self._deadlines.add(deadline)
        try:
            async with deadline, self._lanes.get(operation, self._others):
                answer = await call()
        except (exceptions.RedisError, OSError) as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                error = TimeoutError(f"no answer within {ANSWER_SECONDS:g} s")
            if not _is_away(error):
                raise
            if self._is_open:
                self._writes_fail |= operation in WRITES
                self._outage.begins(error)
            raise StoreUnavailableError from error
        finally:
            self._deadlines.discard(deadline)
        # A server that can be read, such as a replica or a full one, is not back before it can be
        # written.
        self._writes_fail &= operation not in WRITES
        if not self._writes_fail:
            self._outage.ends()
        return answer


class _News:
    """Hears which topics changed, whoever changed them, and wakes their watchers.

        listening ──the connection is lost, or silent──▶ away ──subscribed──▶ listening

    What is published meanwhile is lost: while it is away all watchers are woken now and then, and
    once when it is back. A process hears of its own changes in this way only, and so also of those
    whose caller has gone, or that happen long after their caller gave up.
    """

    def __init__(
        self, pool: ConnectionPool, channel: str, watchers: Watchers[str], outage: Outage
    ) -> None:
        self._pool = pool
        self._channel = channel
        self._watchers = watchers
        self._outage = outage
        self._connection: AbstractConnection | None = None
        self._leaves = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Returns when everything that is published from now on will be heard."""
        await self._subscribe()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._stop_polling()
        await self._disconnect()

    def leave(self) -> None:
        """Looks for the server anew, within a heartbeat."""
        self._leaves = True

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # Whatever it is, the answer is a new connection.
                self._outage.begins(error)
            self._poll()
            await self._subscribe_again()
            self._stop_polling()
            self._outage.ends()
            self._watchers.wake_all()

    async def _listen(self) -> None:
        connection, is_asked = self._connection, False
        assert connection is not None
        while not self._leaves:
            answer = await connection.read_response(timeout=HEARTBEAT_SECONDS)
            if answer is None:
                if is_asked:
                    raise exceptions.TimeoutError("no sign of life")
                await connection.send_command("PING")
            elif answer[0] == b"message":
                self._watchers.wake(split_names(answer[2].decode()))
            is_asked = answer is None

    async def _subscribe(self) -> None:
        await self._disconnect()
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection, self._leaves = connection, False
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_command("SUBSCRIBE", self._channel)
        await connection.read_response()

    async def _subscribe_again(self) -> None:
        for pause in itertools.chain(RECONNECT_SECONDS, itertools.repeat(RECONNECT_SECONDS[-1])):
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._subscribe()
                return
            except Exception as error:
                self._outage.begins(error)

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)

    def _poll(self) -> None:
        self._watchers.wake_all()
        self._timer = asyncio.get_running_loop().call_later(POLL_SECONDS, self._poll)

    def _stop_polling(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Master:
    """Leaves a server as soon as the Sentinels call another one the master.

    The old one may be alive, and take for seconds what it will then forget.
    """

    def __init__(self, pool: SentinelConnectionPool, sentinel: Sentinel, news: "_News") -> None:
        self._pool = pool
        self._sentinel = sentinel
        self._news = news
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        with suppress(exceptions.RedisError):
            await self._sentinel.aclose()

    async def _run(self) -> None:
        known = await self._address()
        while True:
            await asyncio.sleep(MASTER_SECONDS)
            address = await self._address()
            if address not in (known, None):
                known = address
                await self._pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
                self._news.leave()

    async def _address(self) -> tuple[str, int] | None:
        try:
            # Connections to another one that are not in use are closed by this.
            address: tuple[str, int] = await self._pool.get_master_address()  # type: ignore[no-untyped-call]
        except Exception:  # Those who need the master will say that there is none.
            return None
        return address


# Names, times and texts as they are in the store.


def _owner(owner: str) -> str:
    return f"{len(owner.encode())}:{owner}:"


def _name(ref: Ref | ConversationRef) -> str:
    return _owner(ref.owner) + ref.id


def _lease_name(lease: Lease) -> str:
    return f"{lease.id}:{lease.epoch}"


def _encoded(text: str) -> bytes:
    return text.encode("utf-16-le")


def _decoded(text: bytes) -> str:
    return text.decode("utf-16-le")


def _decoded_head(text: bytes) -> str:
    """A text that may end with the first half of a surrogate pair, without that."""
    return text.decode("utf-16-le", "ignore")


def _time(milliseconds: str) -> datetime:
    return EPOCH + timedelta(milliseconds=int(milliseconds))


def _error(code: str, message: str) -> ReplyError | None:
    return ReplyError(ReplyErrorCode.read(code), message) if code else None


def _usage_json(usage: Usage | None) -> str:
    """What `usage_of` takes; empty if nothing is known."""
    if usage_kept(usage) is None:
        return ""
    assert usage is not None
    times = milliseconds(usage.time_to_first_token), milliseconds(usage.duration)
    return json.dumps([usage.model, usage.input_tokens, usage.output_tokens, *times])


def _slice(text: bytes, begin: int, end: int, status: str, code: str, error: str) -> Slice:
    return Slice(begin, _decoded(text), end, Status(status), _error(code, error))


def _messages(records: bytes, texts: Sequence[bytes]) -> tuple[Message, ...]:
    return tuple(
        Message(
            id=id,
            conversation_id=conversation,
            role=Role.ASSISTANT if reply_to else Role.USER,
            content=_decoded(text),
            status=Status(status or "DONE"),
            created_at=_time(created),
            reply_to_id=reply_to or None,
            error=_error(code, error),
            usage=usage_of(*json.loads(usage)) if usage else None,
        )
        for (id, conversation, created, reply_to, status, code, error, usage), text in zip(
            json.loads(records), texts, strict=True
        )
    )


def _portions(appends: Iterable[_Append]) -> Iterator[list[_Append]]:
    """Appends in lists of about GROUP_BYTES."""
    some: list[_Append] = []
    size = 0
    for append in appends:
        some.append(append)
        size += len(append.text)
        if size >= GROUP_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


# What goes wrong.


def _refusal(id: str, word: str, *details: str) -> Exception:
    """What the first word of an answer about an id means; `details` are the rest of it."""
    match word:
        case "no message":
            return MessageNotFoundError(id)
        case "no reply":
            return MessageNotFoundError(id, "reply")
        case "cleared":
            return MessageClearedError(*details or [id])
        case "conflict":
            return MessageIdConflictError(id, *details)
        case "streaming":
            return ReplyStreamingError(*details)
        case "unfit":
            return ValueError(f"the text of {id!r} at offset {details[0]} is another")
        case "fenced":
            return FencedError(f"nothing more may be written to {id!r}")
    return RuntimeError(f"the script answered {word!r}, which means nothing")


def _is_away(error: Exception) -> bool:
    """Whether an error says that the server cannot serve now."""
    if isinstance(error, exceptions.ResponseError):
        return (error.status_code or str(error).partition(" ")[0]) in AWAY
    return isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError))
