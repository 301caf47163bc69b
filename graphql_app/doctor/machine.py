"""Examines the machine: what it allows, its clock, the port, and what was installed."""

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from graphql_app.app import STATIC
from graphql_app.doctor.findings import Finding, fail, ok, warn
from graphql_app.errors import ConfigurationError
from graphql_app.server import ENDING_SECONDS, LINGER_SECONDS, bound_sockets
from graphql_app.settings import PREFIX, Settings

SPARE_FILES = 100
"""Files of a process beside its clients' connections: libraries, the store, a model's provider."""

SOCKET_BYTES = 30 * 1024
"""What an open socket with an idle subscription costs; docs/performance.md measures it."""

DEFLATING_SOCKET_BYTES = 70 * 1024
"""The same where messages are deflated."""

PROCESS_BYTES = 120 * 1024 * 1024
"""What a process has before anybody comes, with a model's packages."""

REPLY_BYTES = 60 * 1024
"""What a reply that streams costs, with one follower."""

MEMORY_SHARE = 0.8

BACKLOG = 2_048
"""How many connections the server lets wait, as far as the system allows."""

LEAST_BACKLOG = 512

YEARS = range(2025, 2100)

LOOK_SECONDS = 0.2
DRIFT_SECONDS = 0.05
ANSWER_SECONDS = 2.0


def examine(settings: Settings) -> Iterator[Finding]:
    """What the machine allows, whether its clock is right, and whether the port is free."""
    yield files(settings, resource.getrlimit(resource.RLIMIT_NOFILE))
    yield memory(settings, _memory_bytes())
    yield backlog(_somaxconn())
    yield ending(settings)
    yield temporary(settings)
    yield user(os.geteuid())
    yield year(datetime.now(UTC))
    yield steady()
    yield port(settings)
    yield pages(STATIC)


def files(settings: Settings, limits: tuple[int, int]) -> Finding:
    """Whether a process may open as many files as it is allowed to have connections.

    Args:
        limits: the soft limit, and the hard one, up to which the soft one can be raised.
    """
    soft, hard = (float("inf") if limit == resource.RLIM_INFINITY else limit for limit in limits)
    needed = settings.max_connections + SPARE_FILES
    if soft >= needed:
        return ok("limits.files", f"A process may open {soft:,g} files, and needs {needed:,}.")
    way = (
        f"`ulimit -n {needed}` before the start, LimitNOFILE={needed} with systemd, `ulimits` with "
        f"Compose; or {PREFIX}MAX_CONNECTIONS={max(1, int(soft) - SPARE_FILES)}"
    )
    if hard < needed:
        way += f". The hard limit is {hard:,g}, which root can raise"
    return warn(
        "limits.files",
        f"A process may open {soft:,g} files; {settings.max_connections:,} connections need "
        f"{needed:,}.",
        f"{way}.",
    )


def memory(settings: Settings, available: int | None) -> Finding:
    """Whether there is memory for as many clients as are let in."""
    socket_bytes = DEFLATING_SOCKET_BYTES if settings.deflate else SOCKET_BYTES
    each = PROCESS_BYTES + settings.max_sockets * socket_bytes + settings.max_replies * REPLY_BYTES
    needed = settings.workers * each
    sentence = (
        f"{settings.max_sockets:,} sockets and {settings.max_replies:,} replies in each of "
        f"{settings.workers} processes need about {_gigabytes(needed)}"
    )
    if available is None:
        return ok("limits.memory", f"{sentence}; what there is cannot be read here.")
    if needed > MEMORY_SHARE * available:
        return warn(
            "limits.memory",
            f"{sentence}, and there are {_gigabytes(available)}.",
            f"Lower {PREFIX}MAX_SOCKETS and {PREFIX}MAX_REPLIES to what you expect, or start fewer "
            "workers.",
        )
    return ok("limits.memory", f"{sentence}; there are {_gigabytes(available)}.")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _memory_bytes() -> int | None:
    """What this process and its like may use: what is free, or what their group may have."""
    found: list[int] = []
    information = Path("/proc/meminfo")
    if information.exists():
        lines = dict(line.split(":") for line in information.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    for group in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            found.append(int(Path(group).read_text()))
        except (OSError, ValueError):  # There is no group, or no limit.
            continue
    return min(found, default=None)


def _somaxconn() -> int | None:
    try:
        return int(Path("/proc/sys/net/core/somaxconn").read_text())
    except (OSError, ValueError):
        return None


def backlog(allowed: int | None) -> Finding:
    """How many connections may wait to be let in, when many come at once."""
    if allowed is None:
        return ok("limits.backlog", "How many connections may wait cannot be read here.")
    if allowed < LEAST_BACKLOG:
        return warn(
            "limits.backlog",
            f"Only {allowed} connections may wait to be let in (net.core.somaxconn); when a proxy "
            "moves its clients to this server, more come at once.",
            f"sysctl -w net.core.somaxconn={BACKLOG}",
        )
    return ok("limits.backlog", f"{min(allowed, BACKLOG):,} connections may wait to be let in.")


def ending(settings: Settings) -> Finding:
    """How long the end takes, which a process manager has to wait for."""
    at_worst = settings.notice_seconds + settings.drain_seconds + ENDING_SECONDS + LINGER_SECONDS
    return ok(
        "limits.ending",
        f"The end takes {at_worst:g} s at worst; give whatever stops the server more than that "
        f"(TimeoutStopSec, stop_grace_period, docker stop --time).",
    )


def temporary(settings: Settings) -> Finding:
    """Whether workers have a place to count together."""
    try:
        with tempfile.NamedTemporaryFile(prefix="graphql-app-doctor-"):
            pass
    except OSError as error:
        if settings.workers == 1:
            return ok("limits.temporary", "There is no folder for temporary files; none is needed.")
        return fail(
            "limits.temporary",
            f"Workers need a folder for temporary files: {error.strerror or error}.",
            "Set TMPDIR to one that can be written; a tmpfs of 16 MB is enough.",
        )
    return ok("limits.temporary", f"Temporary files go to {tempfile.gettempdir()}.")


def user(id: int) -> Finding:
    if id == 0:
        return warn(
            "limits.user",
            "This is root, who needs no permission for anything.",
            "Run the server as a user of its own; the image and the unit in deploy/ do.",
        )
    return ok("limits.user", f"The user is {id}, not root.")


def year(now: datetime) -> Finding:
    """Whether the clock was set at all."""
    if now.year not in YEARS:
        return fail(
            "clock.year",
            f"The clock says that it is {now:%Y}.",
            "Set it, by NTP: tokens and certificates are judged by it.",
        )
    return ok("clock.year", f"The clock says {now:%Y-%m-%d %H:%M} UTC.")


def steady() -> Finding:
    """Whether the clock goes on as fast as time passes."""
    begin, began = time.time(), time.monotonic()
    time.sleep(LOOK_SECONDS)
    drift = (time.time() - begin) - (time.monotonic() - began)
    if abs(drift) > DRIFT_SECONDS:
        return warn(
            "clock.steady",
            f"Within {LOOK_SECONDS:g} s the clock was set by {drift:+.2f} s.",
            "See whether two programs set it, or the machine is a copy that was just woken.",
        )
    return ok("clock.steady", "The clock goes as fast as time passes.")


def port(settings: Settings) -> Finding:
    """Whether the address can be listened at, or we listen there already."""
    place = f"Port {settings.port} on {settings.host}"
    try:
        # Whether strangers may come there is not asked here.
        listeners = bound_sockets(settings.model_copy(update={"open": True}))
    except ConfigurationError as error:
        if _is_ours(settings):
            return ok("port.free", f"{place} is taken by a graphql-app that runs.")
        return fail(
            "port.free",
            str(error),
            "Choose another with --port, or end what listens there (ss -ltnp shows it).",
        )
    for listener in listeners:
        listener.close()
    return ok("port.free", f"{place} is free.")


def _is_ours(settings: Settings) -> bool:
    """Whether whoever listens at the address answers as we do."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    connection = HTTPConnection(host, settings.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().read(16) == b"ok"
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def pages(folder: Path) -> Finding:
    """Whether the browser pages are part of what is installed."""
    missing = [name for name in ("index.html", "playground.html") if not (folder / name).is_file()]
    if missing:
        return warn(
            "pages.built",
            f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not in {folder}: there "
            "is no chat in the browser.",
            "Install the wheel or the image, or run `make setup`. The API needs no pages.",
        )
    return ok("pages.built", "The chat and the playground are there.")
