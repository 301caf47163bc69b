"""What is shipped for running it: the proxies' configurations, the image, the composition.

The proxies are real ones in front of real servers, with the files of deploy/ but for names and
ports. Docker is not needed: the parts that it would run are run one by one.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Origin, Subprotocol

from graphql_app.client import ChatClient, Retry
from graphql_app.server import ENDING_SECONDS, LINGER_SECONDS
from graphql_app.settings import PREFIX, Settings, read_settings
from graphql_app.stores import open_store
from tests import cage
from tests.contracts.backends import BACKENDS
from tests.end_to_end import answers, noted
from tests.processes import ServerProcess, serving
from tests.servers import RedisServer, free_port, program, running
from tests.wire import PATIENCE_SECONDS, RESUME, SEND, Refused, Reply, eventually, open_socket

ROOT = Path(__file__).parent.parent
START_SECONDS = 20.0

ANSWERING = ("--completion", "tests.end_to_end.answers:complete")
EVENT_STREAM = "text/event-stream"
MULTIPART = 'multipart/mixed;subscriptionSpec="1.0"'


def require(what: str, is_there: bool) -> None:
    """Skips the test if something is not installed; in CI, fails it."""
    if is_there:
        return
    reason = f"{what} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


# Proxies


@dataclass(frozen=True)
class Proxy:
    """A reverse proxy, and its command once it is told where to listen and whom to lead to."""

    id: str
    command: Callable[[Path, int, Sequence[int]], list[str]]


def configuration(name: str, ports: Sequence[int], listen: tuple[str, str]) -> str:
    """A file of deploy/, with other names and ports."""
    text = (ROOT / "deploy" / name).read_text()
    changes = [
        (f"server-{number}:3000", f"127.0.0.1:{port}") for number, port in enumerate(ports, 1)
    ]
    for old, new in [*changes, listen]:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def haproxy(folder: Path, port: int, ports: Sequence[int]) -> list[str]:
    file = folder / "haproxy.cfg"
    file.write_text(configuration(file.name, ports, ("bind :8080", f"bind 127.0.0.1:{port}")))
    return ["haproxy", "-db", "-f", str(file)]


def nginx(folder: Path, port: int, ports: Sequence[int]) -> list[str]:
    file = folder / "nginx.conf"
    listen = ("listen 8080;", f"listen 127.0.0.1:{port};")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    file.write_text(
        f"daemon off; pid {folder / 'pid'}; {'user root;' if os.getuid() == 0 else ''}\n"
        "events {}\nhttp { access_log off;\n"
        + "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
        + configuration(file.name, ports, listen)
        + "}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(file), "-e", "stderr"]


PROXIES = [Proxy("haproxy", haproxy), Proxy("nginx", nginx)]


@contextmanager
def running_proxy(proxy: Proxy, folder: Path, ports: Sequence[int]) -> Iterator[str]:
    """A proxy on loopback, and where it listens: a host with its port."""
    folder.mkdir()
    port = free_port()
    name, *options = proxy.command(folder, port, ports)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program(name) or name, *options], stdout=log, stderr=log)
    place = f"127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers_at(place):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield place
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def answers_at(place: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://{place}/healthz").text == "ok"
    return False


class Servers:
    """Two servers at one store, each at a port that it keeps."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.ports = [free_port(), free_port()]
        self._notes = folder / "notes"
        self._url = f"sqlite:///{folder / 'chat.db'}"
        self._stack = ExitStack()

    def start(
        self, number: int, completion: Sequence[str] = noted.COMPLETION, notice_seconds: float = 1.0
    ) -> ServerProcess:
        environment = {
            noted.NOTES: str(self._notes),
            f"{PREFIX}NOTICE_SECONDS": str(notice_seconds),
        }
        where = ("--port", str(self.ports[number]), "--store", self._url)
        return self._stack.enter_context(
            serving(*where, *completion, environment=environment, directory=ROOT)
        )

    def calls(self) -> list[tuple[str, int]]:
        """Which messages were answered, and by which process."""
        return noted.calls(self._notes)

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module", params=PROXIES, ids=lambda proxy: proxy.id)
def proxy(request: pytest.FixtureRequest) -> Proxy:
    proxy: Proxy = request.param
    require(proxy.id, program(proxy.id) is not None)
    return proxy


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Two servers, which are not started."""
    servers = Servers(tmp_path / "servers")
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def answering(
    proxy: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, ServerProcess]]:
    """Where a proxy listens in front of a server that answers as it is told, and that server."""
    folder = tmp_path_factory.mktemp(proxy.id)
    servers = Servers(folder / "servers")
    server = servers.start(0, ANSWERING)
    with running_proxy(proxy, folder / "proxy", servers.ports) as place:
        yield place, server
    servers.stop()


@pytest.fixture
def place(answering: tuple[str, ServerProcess]) -> str:
    return answering[0]


# Following through a proxy

Follow: TypeAlias = Callable[
    [str, str, dict[str, Any], Reply, Callable[[Reply], bool]], Coroutine[Any, Any, None]
]
"""Follows a reply at a place, with a document and its variables, until it is as it should be."""


async def over_a_socket(
    place: str,
    query: str,
    variables: dict[str, Any],
    reply: Reply,
    is_enough: Callable[[Reply], bool],
) -> None:
    async with open_socket(f"ws://{place}/graphql") as socket:
        await socket.follow(query, variables, reply, most_chunks=1)
        while not is_enough(reply):
            await socket.rest(reply, most_chunks=1)


async def over_an_event_stream(
    place: str,
    query: str,
    variables: dict[str, Any],
    reply: Reply,
    is_enough: Callable[[Reply], bool],
) -> None:
    async with streaming(place, EVENT_STREAM, query, variables) as response:
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "data" and value:
                apply(json.loads(value), reply)
                if is_enough(reply):
                    return


async def over_multipart(
    place: str,
    query: str,
    variables: dict[str, Any],
    reply: Reply,
    is_enough: Callable[[Reply], bool],
) -> None:
    async with streaming(place, MULTIPART, query, variables) as response:
        async for line in response.aiter_lines():
            if line.startswith('{"payload"'):
                apply(json.loads(line)["payload"], reply)
                if is_enough(reply):
                    return


@asynccontextmanager
async def streaming(
    place: str, accept: str, query: str, variables: dict[str, Any]
) -> AsyncIterator[httpx.Response]:
    async with (
        httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client,
        client.stream(
            "POST",
            f"http://{place}/graphql",
            # Escaped to ASCII: so large may a body be.
            content=json.dumps({"query": query, "variables": variables}),
            headers={"accept": accept, "content-type": "application/json"},
        ) as response,
    ):
        yield response.raise_for_status()


def apply(result: dict[str, Any], reply: Reply) -> None:
    if errors := result.get("errors"):
        raise Refused(errors)
    [chunk] = result["data"].values()
    reply.apply(chunk)


def has_ended(reply: Reply) -> bool:
    return reply.status not in (None, "STREAMING")


def draft(content: str, id: str | None = None) -> dict[str, Any]:
    id = id or uuid4().hex
    return {"message": {"id": id, "content": content, "conversationId": id}}


every_way = pytest.mark.parametrize(
    "follow",
    [over_a_socket, over_an_event_stream, over_multipart],
    ids=lambda follow: follow.__name__.removeprefix("over_"),
)


@every_way
async def test_words_come_through_at_once(place: str, follow: Follow) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        # The reply has no end, and so nothing that would flush a buffer.
        await follow(place, SEND, draft("wait"), Reply(), lambda reply: reply.content == "waiting")


@every_way
async def test_a_client_comes_through_with_as_much_as_a_reply_may_hold(
    place: str, follow: Follow
) -> None:
    sent = Reply()
    await follow(place, SEND, draft("longest"), sent, has_ended)
    resumed = Reply(content=answers.LONGEST)
    has = {"message": {"id": sent.message_id, "content": resumed.content}}
    await follow(place, RESUME, has, resumed, has_ended)
    assert [(chunk["text"], chunk["status"]) for chunk in resumed.chunks] == [("", "DONE")]
    assert sent.content == answers.LONGEST


@every_way
async def test_the_server_hears_that_a_client_has_left(
    answering: tuple[str, ServerProcess], follow: Follow
) -> None:
    place, server = answering
    async with asyncio.TaskGroup() as group:
        clients = [
            group.create_task(follow(place, SEND, draft("wait"), Reply(), lambda _: False))
            for _ in range(50)
        ]
        await eventually(lambda: connections(server) >= len(clients))
        for client in clients:
            client.cancel()
    # The proxy may keep some for those who come next.
    await eventually(lambda: connections(server) < len(clients) / 2)


def connections(server: ServerProcess) -> int:
    """How many connections a server has."""
    port = f":{server.port:04X}"
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = "01"
    return sum(local.endswith(port) and state == established for _, local, _, state, *_ in sockets)


async def test_a_page_may_open_a_socket_to_where_it_came_from_and_nowhere_else(place: str) -> None:
    def opening(origin: str) -> connect:
        protocols = [Subprotocol("graphql-transport-ws")]
        return connect(f"ws://{place}/graphql", subprotocols=protocols, origin=Origin(origin))

    async with opening(f"http://{place}"):
        pass
    with pytest.raises(InvalidStatus) as refused:
        async with opening("http://elsewhere"):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/metrics", "/metrics?name=x", "/%6Detrics"])
def test_what_a_server_counts_is_not_shown_outside(
    answering: tuple[str, ServerProcess], path: str
) -> None:
    place, server = answering
    assert "graphql_app_replies" in httpx.get(f"{server.http}{path}").text
    assert httpx.get(f"http://{place}{path}").status_code == 404


def test_nobody_chooses_the_address_that_servers_are_told(proxy: Proxy, tmp_path: Path) -> None:
    """Its own would be passed over, if it is one of the addresses that are trusted."""
    told: list[list[str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/here":
                told.append(self.headers.get_all("X-Forwarded-For", []))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with running_proxy(proxy, tmp_path / "proxy", [server.server_port] * 2) as place:
                lies = [("X-Forwarded-For", "198.51.100.7"), ("x-forwarded-for", "127.0.0.1")]
                httpx.get(f"http://{place}/here", headers=lies)
        finally:
            server.shutdown()
            thread.join()
    assert told == [["127.0.0.1"]]


# Restarting behind a proxy

TEXT = "".join(f"word{number} \U0001f600 " for number in range(80))

CUT = (
    *(ConnectionClosed, InvalidHandshake, InvalidMessage),
    *(OSError, httpx.TransportError, httpx.HTTPStatusError),
)
"""What a client sees when its server ends, or when there is none at this moment."""


@dataclass
class Sent:
    """A message, what a client has seen of its reply, and how often it had to resume."""

    id: str
    reply: Reply = field(default_factory=Reply)
    resumes: int = 0


async def chat_by_hand(place: str, follow: Follow, name: str, is_over: asyncio.Event) -> list[Sent]:
    """Sends message after message, and resumes by the rules of docs/streaming.md."""
    sent: list[Sent] = []
    while not is_over.is_set():
        message = Sent(f"{name}-{len(sent)}")
        sent.append(message)
        reply = message.reply
        while not has_ended(reply):
            has = {"message": {"id": reply.message_id, "content": reply.content}}
            with suppress(*CUT):
                if reply.message_id is None:
                    await follow(place, SEND, draft(TEXT, message.id), reply, has_ended)
                else:
                    message.resumes += 1
                    await follow(place, RESUME, has, reply, has_ended)
            await asyncio.sleep(0.05)
    return sent


async def chat_with_the_client(place: str, name: str, is_over: asyncio.Event) -> list[Sent]:
    """Sends message after message with the client, which does the rest."""
    sent: list[Sent] = []
    retry = Retry(first_seconds=0.05, longest_seconds=0.5)
    async with ChatClient(f"ws://{place}/graphql", retry=retry) as client:
        while not is_over.is_set():
            message = Sent(f"{name}-{len(sent)}")
            sent.append(message)
            async for update in client.send(TEXT, id=message.id, conversation_id=message.id):
                message.reply.content, message.reply.status = update.content, update.status
    return sent


async def test_a_rolling_restart_behind_a_proxy_loses_nothing_and_doubles_nothing(
    proxy: Proxy, servers: Servers, tmp_path: Path
) -> None:
    elders = [await asyncio.to_thread(servers.start, number) for number in (0, 1)]
    is_over = asyncio.Event()
    with running_proxy(proxy, tmp_path / "proxy", servers.ports) as place:
        chats = [
            *(
                asyncio.create_task(chat_by_hand(place, follow, f"{follow.__name__}-{n}", is_over))
                for follow in (over_a_socket, over_an_event_stream, over_multipart)
                for n in range(2)
            ),
            *(
                asyncio.create_task(chat_with_the_client(place, f"client-{n}", is_over))
                for n in range(2)
            ),
        ]
        for number, server in enumerate(elders):
            await asyncio.to_thread(server.terminate)
            await asyncio.to_thread(servers.start, number)
        is_over.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            sent = [message for chat in chats for message in await chat]
    assert {(message.reply.content, message.reply.status) for message in sent} == {(TEXT, "DONE")}
    assert sum(message.resumes for message in sent) >= 2
    assert Counter(id for id, _ in servers.calls()) == Counter(message.id for message in sent)
    assert len({process for _, process in servers.calls()}) >= 3


async def test_a_server_that_died_is_passed_over(
    proxy: Proxy, servers: Servers, tmp_path: Path
) -> None:
    dying, _ = [await asyncio.to_thread(servers.start, number) for number in (0, 1)]
    with running_proxy(proxy, tmp_path / "proxy", servers.ports) as place:
        dying.process.kill()
        dying.process.wait()
        async with httpx.AsyncClient(base_url=f"http://{place}", timeout=PATIENCE_SECONDS) as http:
            for _ in range(10):
                answer = await http.post("/graphql", json={"query": "{ __typename }"})
                assert answer.json() == {"data": {"__typename": "Query"}}


async def test_haproxy_leads_nobody_to_a_server_that_says_it_is_not_ready(
    servers: Servers, tmp_path: Path
) -> None:
    require("haproxy", program("haproxy") is not None)
    leaving = await asyncio.to_thread(servers.start, 0, notice_seconds=60)
    staying = await asyncio.to_thread(servers.start, 1)
    with running_proxy(PROXIES[0], tmp_path / "proxy", servers.ports) as place:
        leaving.process.terminate()

        async def answered_by(message: str) -> int:
            await over_a_socket(place, SEND, draft("Hello", message), Reply(), has_ended)
            return dict(servers.calls())[message]

        async with asyncio.timeout(PATIENCE_SECONDS):
            number = 0
            while {await answered_by(f"m{number}-{n}") for n in range(4)} != {staying.process.pid}:
                number += 1
        assert leaving.process.poll() is None
        async with httpx.AsyncClient(base_url=leaving.http) as http:
            assert (await http.get("/readyz")).status_code == 503


# The composition


@cache
def composition(name: str = "compose.yaml") -> dict[str, Any]:
    """A composition, read by the system's Python: nothing else here has to read YAML."""
    python = Path("/usr/bin/python3")
    require(str(python), python.exists())
    convert = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    with (ROOT / name).open() as file:
        done = subprocess.run(
            [python, "-c", convert], stdin=file, capture_output=True, text=True, check=False
        )
    require("python3-yaml", "No module named 'yaml'" not in done.stderr)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def seconds(duration: str) -> float:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found is not None, duration
    return float(found[1])


SERVERS = ("server-1", "server-2")


def test_the_composition_has_what_its_parts_ask_of_each_other() -> None:
    services = composition()["services"]
    for name, service in services.items():
        assert service["image"], name
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        for needed, how in service.get("depends_on", {}).items():
            assert services[needed]["healthcheck"], name
            assert how == {"condition": "service_healthy"}
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in composition()["volumes"] or (ROOT / source).is_file(), name
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]


@pytest.mark.parametrize("name", SERVERS)
def test_a_composed_server_has_the_time_that_it_needs_to_end(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = composition()["services"][name]
    settings = settings_of(server, monkeypatch)
    at_worst = settings.notice_seconds + settings.drain_seconds + ENDING_SECONDS + LINGER_SECONDS
    assert seconds(server["stop_grace_period"]) > at_worst
    page = (ROOT / "docs/how-to/deploy-behind-a-proxy.md").read_text()
    assert f"{ENDING_SECONDS + LINGER_SECONDS:g} seconds after the drain" in page


@pytest.mark.parametrize("name", ["compose.yaml", "compose.postgresql.yaml"])
def test_composed_servers_share_a_store_that_is_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = composition(name)["services"]
    urls = {settings_of(services[server], monkeypatch).store for server in SERVERS}
    [url] = urls
    assert "store" in re.split(r"[:/@]+", url)
    assert services["store"]["image"]
    assert open_store(url).shared


def settings_of(server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for variable, value in server["environment"].items():
        monkeypatch.setenv(variable, as_compose_reads(value))
    return read_settings()


def as_compose_reads(value: str) -> str:
    """A value where no variable is set: `${NAME:-default}` is Compose's."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def test_what_composed_programs_say_does_not_fill_the_disk() -> None:
    for service in composition()["services"].values():
        assert service["logging"] == {
            "driver": "local",
            "options": {"max-size": "20m", "max-file": "5"},
        }


def test_composed_programs_have_nothing_to_write_and_no_rights() -> None:
    services = composition()["services"]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
    for name in ("proxy", *SERVERS):
        assert services[name]["read_only"] is True, name
        assert "cap_add" not in services[name], name
    for name in SERVERS:
        [temporary] = services[name]["tmpfs"]
        assert temporary.startswith("/tmp:")
        assert services[name]["ulimits"]["nofile"] > Settings().max_sockets


def test_composed_servers_believe_the_proxy_and_no_stranger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of(composition()["services"]["server-1"], monkeypatch)
    [network] = composition()["networks"]["default"]["ipam"]["config"]
    assert settings.trusted_proxies == (as_compose_reads(network["subnet"]),)
    haproxy = (ROOT / "deploy/haproxy.cfg").read_text()
    assert "option forwardfor" in haproxy
    assert "set-header X-Forwarded-Proto" in haproxy


def variables_of(file: str) -> set[str]:
    """The variables of ours that a file names, also those that are commented out."""
    return set(re.findall(rf"{PREFIX}(\w+)=", (ROOT / file).read_text()))


def test_the_example_of_secrets_names_settings_that_there_are() -> None:
    names = {name.lower() for name in variables_of("deploy/chat.env.example")}
    assert names <= Settings.model_fields.keys()
    assert {"jwt_secret", "hosts", "origins", "trusted_proxies", "production"} <= names
    text = (ROOT / "deploy/chat.env.example").read_text()
    assert not re.search(r"^[^#\n]", text, re.MULTILINE), "it sets something by itself"
    assert composition()["services"]["server-1"]["env_file"] == [
        {"path": "chat.env", "required": False}
    ]
    assert "chat.env" in (ROOT / ".gitignore").read_text().splitlines()


async def test_the_composed_redis_is_one_that_the_store_accepts(tmp_path: Path) -> None:
    [backend] = [backend for backend in BACKENDS if backend.id == "redis"]
    backend.require()
    command, *options = composition()["services"]["store"]["command"]
    assert command == "redis-server"
    with running(RedisServer(tmp_path, *options)) as redis:
        store = open_store(redis.url)
        await store.open()
        await store.close()


def test_the_second_file_changes_only_what_the_first_one_has() -> None:
    changed = composition("compose.postgresql.yaml")["services"]
    assert changed.keys() <= composition()["services"].keys()
    for name in SERVERS:
        assert changed[name].keys() == {"environment"}


@pytest.mark.parametrize("file", ["haproxy.cfg", "nginx.conf"])
def test_proxies_lead_to_the_composed_servers(file: str) -> None:
    text = (ROOT / "deploy" / file).read_text()
    assert re.findall(r"(server-\d):(\d+)", text) == [(name, "3000") for name in SERVERS]
    assert Settings.model_fields["port"].default == 3000
    assert set(SERVERS) <= composition()["services"].keys()


# The unit

UNIT = ROOT / "deploy/graphql-app.service"

MOST_EXPOSURE = 20
"""Of 100, as systemd counts it; most services of a distribution have 90."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    require("systemd-analyze", program("systemd-analyze") is not None)
    file = tmp_path / UNIT.name
    installed = "/opt/graphql-app/bin/graphql-app"
    text = UNIT.read_text()
    assert text.count(installed) == 1
    file.write_text(text.replace(installed, "/bin/true"))
    return file


def lines_of(unit: Path) -> dict[str, str]:
    """What a unit says, by name; of what it says twice, the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE))


def test_systemd_understands_the_unit(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_leaves_little_to_whoever_takes_the_program_over(unit: Path) -> None:
    exposure = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    done = subprocess.run(
        [*exposure, f"--threshold={MOST_EXPOSURE}", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    unguarded = unit.with_name("unguarded.service")
    unguarded.write_text("[Service]\nExecStart=/bin/true\n")
    told = subprocess.run(
        [*exposure, f"--threshold={MOST_EXPOSURE}", unguarded], capture_output=True, check=False
    )
    assert told.returncode != 0, "nothing is too exposed"


def test_the_unit_gives_the_program_what_it_needs() -> None:
    lines = lines_of(UNIT)
    settings = Settings()
    at_worst = settings.notice_seconds + settings.drain_seconds + ENDING_SECONDS + LINGER_SECONDS
    assert seconds(lines["TimeoutStopSec"]) > at_worst
    assert int(lines["LimitNOFILE"]) > settings.max_sockets
    assert lines["KillMode"] == "mixed", "workers would get the signal that is for their parent"
    text = UNIT.read_text()
    [store] = re.findall(rf"^Environment={PREFIX}STORE=sqlite:///(.*)$", text, re.MULTILINE)
    assert Path(store).parent == Path("/var/lib") / lines["StateDirectory"]
    assert lines["ExecStart"].split()[1:] == ["serve"]


# The image

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def run_health_check(command: Sequence[str], port: int) -> int:
    program, *options = command
    assert program == "python"
    script = " ".join(options).replace("127.0.0.1:3000", f"127.0.0.1:{port}")
    option, code = script.split(" ", 1)
    run = subprocess.run([sys.executable, option, code], capture_output=True, check=False)
    return run.returncode


def test_health_checks_tell_a_server_that_is_ready_from_one_that_is_not() -> None:
    [image_check] = re.findall(r"^HEALTHCHECK .*?CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    [_, *server_check] = composition()["services"]["server-1"]["healthcheck"]["test"]
    with serving(environment={f"{PREFIX}NOTICE_SECONDS": "60"}) as server:
        for command in (json.loads(image_check), server_check):
            assert run_health_check(command, server.port) == 0
        server.process.terminate()
        with httpx.Client(base_url=server.http) as http:
            while http.get("/readyz").status_code == 200:
                pass
        assert run_health_check(json.loads(image_check), server.port) == 0
        assert run_health_check(server_check, server.port) != 0
    assert run_health_check(json.loads(image_check), server.port) != 0


def test_what_the_image_is_made_from_is_there_and_nothing_else_is_sent() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert "*" in ignored
    assert {source.partition("/")[0] for source in copied} == sent
    for source in copied:
        assert (ROOT / source).exists(), source


def test_the_image_runs_the_server_as_nobody_special() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    [user] = re.findall(r"^USER (.*)$", last, re.MULTILINE)
    # A number: what runs the image can see that it is not root.
    assert int(user) == cage.USER > 0
    assert f"useradd --system --uid {user} --no-create-home --shell /usr/sbin/nologin " in last
    [entry] = re.findall(r"^ENTRYPOINT (.*)$", last, re.MULTILINE)
    [command] = re.findall(r"^CMD (.*)$", last, re.MULTILINE)
    assert [*json.loads(entry), *json.loads(command)] == ["graphql-app", "serve"]


IN_THE_IMAGE = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")


@pytest.fixture
def caged(tmp_path: Path) -> Iterator[tuple[list[str], Path]]:
    """How a command begins that runs as in the image, and what is /data there."""
    if (reason := cage.no_cage()) is not None:
        pytest.skip(f"no cage: {reason}")
    with cage.cage(tmp_path / "cage") as made:
        yield made


def test_the_program_writes_nothing_but_its_data_and_temporary_files(
    caged: tuple[list[str], Path],
) -> None:
    within, data = caged
    for name in IN_THE_IMAGE:
        assert f"{name}=1" in DOCKERFILE
    environment = {**dict.fromkeys(IN_THE_IMAGE, "1"), "HOME": "/", "OPENAI_API_KEY": "none"}
    options = ("--store", "sqlite:////data/chat.db", "--completion", "echo", "--word-delay", "0")
    with serving(*options, "--workers", "2", environment=environment, within=within) as server:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        assert f"Uid:\t{cage.USER}\t" in status
        assert "NoNewPrivs:\t1" in status
        assert re.search(r"CapBnd:\t0+\n", status)
        told = asyncio.run(told_by(server))
        pages = [httpx.get(f"{server.http}{path}") for path in ("/", "/readyz", "/metrics")]
        assert server.terminate() == -signal.SIGTERM
        # At the beginning of each line, behind the time, stands its level.
        warnings = [line for line in server.log.splitlines() if "INFO" not in line.split()[:2]]
        assert [line for line in warnings if "it is open" not in line] == []
    assert told == "Hello, cage!"
    assert [page.status_code for page in pages] == [200, 200, 200]
    assert {file.name for file in data.iterdir()} >= {"chat.db"}


def test_a_model_is_opened_where_nothing_can_be_written(caged: tuple[list[str], Path]) -> None:
    pytest.importorskip("openai")
    within, data = caged
    environment = {**dict.fromkeys(IN_THE_IMAGE, "1"), "HOME": "/", "OPENAI_API_KEY": "none"}
    options = ("--completion", "openai:gpt-5-mini")
    with serving(*options, environment=environment, within=within) as server:
        assert httpx.get(f"{server.http}/readyz").text == "ready"
    assert list(data.iterdir()) == []


def test_a_cage_is_one(caged: tuple[list[str], Path], tmp_path: Path) -> None:
    """The tests above would not fail if it were none."""
    within, _ = caged
    script = (
        "touch /etc/x; touch /usr/x; touch /x; touch $1/x; mkdir /data/there /tmp/there && id -u"
    )
    done = subprocess.run(
        [*within, "sh", "-c", script, "sh", str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.stderr.count("Read-only file system") == 4, done.stderr
    assert done.stdout == f"{cage.USER}\n"


async def told_by(server: ServerProcess) -> str:
    async with ChatClient(server.url) as client:
        text = ""
        async for update in client.send("Hello, cage!"):
            text += update.text
        return text


def test_the_built_package_serves_without_the_source(tmp_path: Path) -> None:
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([sys.executable, *build, str(ROOT)], check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    package = tmp_path / "package"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(package)
    assert files_below(package / "graphql_app") == files_below(ROOT / "graphql_app")
    environment = {"PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"}
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    with serving("--store", url, environment=environment, directory=tmp_path) as server:
        pages = [
            httpx.get(f"{server.http}{path}", headers={"accept": "text/html"})
            for path in ("/", "/graphql")
        ]
    assert [page.status_code for page in pages] == [200, 200]
    assert all("<html" in page.text for page in pages)


def files_below(folder: Path) -> set[Path]:
    return {
        file.relative_to(folder)
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
