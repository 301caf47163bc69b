"""Examines the store: it is looked at, and nothing in it is changed."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

from graphql_app.app import opening_quietly
from graphql_app.doctor.findings import Finding, fail, ok, warn
from graphql_app.doctor.places import is_loopback
from graphql_app.errors import ConfigurationError, StoreUnavailableError
from graphql_app.settings import PREFIX, Settings
from graphql_app.stores import open_store
from graphql_app.stores.condition import Condition, Examinable
from graphql_app.stores.urls import without_password

SLOW_SECONDS = 0.05
"""Each word waits for a call or two before it is seen."""

SKEW_SECONDS = 1.0
"""How far the store's clock may be from ours. Leases are measured by the store's clock alone; ours
is for the times in logs and tokens."""

CALLS_IN_A_LEASE = 20
"""How many calls must fit into a lease: it is renewed three times, and each may be tried again."""

PLAIN = ("redis", "redis+sentinel")
"""Schemes that do not encrypt."""

TELLING_PASSWORDS = frozenset(
    {"chat", "password", "postgres", "redis", "secret", "changeme", "admin"}
)


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """What the store is like: there, as it should be, quick, and with the right time."""
    shown = without_password(settings.store)
    try:
        with opening_quietly():
            store = open_store(settings.store)
            condition = await store.examine() if isinstance(store, Examinable) else None
    except ConfigurationError as error:
        yield fail("store.fit", str(error), "docs/how-to/ has a page for each store.")
        return
    except StoreUnavailableError as error:
        yield fail(
            "store.reachable",
            f"{shown} cannot be reached: {error.__cause__ or error}.",
            "See that it runs, that its host and port are right, and that nothing is in between.",
        )
        return
    if condition is None:
        yield ok("store.reachable", f"{shown} is part of the process.")
        return
    yield ok("store.reachable", f"{shown} can be used.")
    for finding in (*of(condition, settings), *way(settings)):
        yield finding


def of(condition: Condition, settings: Settings) -> Iterator[Finding]:
    """What a store's condition means."""
    if condition.newest is not None:
        yield _version(condition, condition.newest)
    if condition.round_trip_seconds is not None:
        yield _latency(condition.round_trip_seconds, settings)
    if condition.clock_ahead_seconds is not None:
        yield _clock(condition.clock_ahead_seconds)
    if condition.remarks:
        for sentence, advice in condition.remarks:
            yield warn("store.care", sentence, advice)
    else:
        yield ok("store.care", "It keeps what it is given.")


def _version(condition: Condition, newest: str) -> Finding:
    version = condition.version
    if version is None:
        return ok("store.version", f"It has no tables yet; the first start makes version {newest}.")
    if version > newest:
        return fail(
            "store.version",
            f"Its tables have version {version}, and this program knows {newest} and older.",
            "Use the program that made them, or a newer one.",
        )
    if version < newest:
        return warn(
            "store.version",
            f"Its tables have version {version}; the next start brings them to {newest}.",
            "Make a backup, then run `graphql-app migrate` at a quiet moment, or just start.",
        )
    return ok("store.version", f"Its tables have the newest version, {version}.")


def _latency(seconds: float, settings: Settings) -> Finding:
    took = f"A call takes {1000 * seconds:.1f} ms"
    if seconds * CALLS_IN_A_LEASE > settings.lease_seconds:
        return fail(
            "store.latency",
            f"{took}, too long for a lease of {settings.lease_seconds:g} s.",
            f"Move the store nearer, or set {PREFIX}LEASE_SECONDS to "
            f"{CALLS_IN_A_LEASE * seconds:.0f} or more.",
        )
    if seconds > SLOW_SECONDS:
        return warn(
            "store.latency",
            f"{took}, and users wait for it with each word.",
            "Move the store nearer, or find out what keeps it busy.",
        )
    return ok("store.latency", f"{took}.")


def _clock(ahead: float) -> Finding:
    if abs(ahead) > SKEW_SECONDS:
        where = "ahead of" if ahead > 0 else "behind"
        return warn(
            "clock.store",
            f"The store's clock is {abs(ahead):.1f} s {where} ours.",
            "Have both set by NTP. Leases do not suffer, but times in logs and tokens do.",
        )
    return ok("clock.store", f"The store's clock is within {1000 * abs(ahead):.0f} ms of ours.")


def way(settings: Settings) -> Iterator[Finding]:
    """Who could listen on the way to the store, or guess its password."""
    scheme = settings.store.partition("://")[0]
    try:
        parts = urlsplit(settings.store)
        host, password = parts.hostname, parts.password
    except ValueError:
        return
    if not host:
        return
    is_plain = scheme in PLAIN or (
        scheme.startswith("postgres")
        and "sslmode=" not in parts.query
        and "ssl=" not in parts.query
    )
    if is_plain and not is_loopback(host):
        yield warn(
            "store.way",
            f"What is said to {host} is not encrypted, or need not be: messages and the password.",
            "Use rediss:// or ?sslmode=verify-full, unless nobody else is in that network.",
        )
    if password is not None and password.lower() in TELLING_PASSWORDS:
        yield warn(
            "store.password",
            "The store's password is one that everybody tries first.",
            "Choose a long one at random, and let nobody but these servers reach the store.",
        )
