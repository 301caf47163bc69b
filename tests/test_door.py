"""Who may knock: Host, Origin and forwarded headers, of requests and of sockets alike."""

import warnings
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from graphql_app import metrics
from graphql_app.access.hosts import Hosts
from graphql_app.access.origins import Origins
from graphql_app.access.proxies import Proxies
from graphql_app.app import create_app
from graphql_app.door import Door
from graphql_app.settings import Settings
from tests.tokens import SECRET, token

with warnings.catch_warnings():
    # It says which client it would rather stand on.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient, WebSocketDenialResponse

HERE = "http://localhost:3000"
SOCKETS = "ws://localhost:3000/graphql"
APP = "https://app.example"
EVIL = "https://evil.example"
PROTOCOL = "graphql-transport-ws"
QUERY = {"query": "{ __typename }"}
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-request-id",
}


def client(base_url: str = HERE, **settings: Any) -> TestClient:
    return TestClient(create_app(Settings(completion="echo", **settings)), base_url)


def status_of_socket(server: TestClient, headers: Mapping[str, str]) -> int:
    """The status of a handshake: 101, or that of the refusal."""
    try:
        with server.websocket_connect(
            SOCKETS, subprotocols=[PROTOCOL], headers=dict(headers)
        ) as socket:
            socket.send_json({"type": "connection_init"})
            assert socket.receive_json() == {"type": "connection_ack"}
            return 101
    except WebSocketDenialResponse as refusal:
        return refusal.status_code
    except WebSocketDisconnect:
        return 403


def statuses(server: TestClient, headers: Mapping[str, str]) -> tuple[int, int, int]:
    """Of a query by POST, of one by GET, and of a socket."""
    return (
        server.post("/graphql", json=QUERY, headers=headers).status_code,
        server.get("/graphql", params=QUERY, headers=headers).status_code,
        status_of_socket(server, headers),
    )


LET_IN = (200, 200, 101)
FOREIGN = (403, 403, 403)
MISNAMED = (400, 400, 400)


@pytest.mark.parametrize(
    ("headers", "answers"),
    [
        ({}, LET_IN),
        ({"origin": HERE}, LET_IN),
        ({"origin": APP}, LET_IN),
        ({"origin": EVIL}, FOREIGN),
        ({"origin": "null"}, FOREIGN),
        ({"origin": ""}, FOREIGN),
        ({"origin": "http://localhost:3001"}, FOREIGN),
        ({"origin": f"{HERE}, {EVIL}"}, FOREIGN),
        ({"origin": EVIL, "sec-fetch-site": "same-origin"}, FOREIGN),
        ({"host": "evil.example"}, MISNAMED),
        ({"host": "evil.example:3000", "origin": "http://evil.example:3000"}, MISNAMED),
        ({"host": "user@localhost"}, MISNAMED),
        ({"host": ""}, MISNAMED),
        ({"host": "LOCALHOST.:3000"}, LET_IN),
        ({"host": "[::1]:3000", "origin": "http://[::1]:3000"}, LET_IN),
        ({"host": "chat.example", "origin": "https://chat.example"}, LET_IN),
        ({"host": "a.chat.example"}, MISNAMED),
        ({"sec-fetch-site": "same-origin"}, LET_IN),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, LET_IN),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, FOREIGN),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}, FOREIGN),
        ({"sec-fetch-site": "cross-site"}, FOREIGN),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "origin": APP}, LET_IN),
    ],
    ids=str,
)
def test_requests_and_sockets_are_let_in_and_refused_alike(
    headers: Mapping[str, str], answers: tuple[int, int, int]
) -> None:
    with client(origins=APP, hosts="chat.example") as server:
        assert statuses(server, headers) == answers


@pytest.mark.parametrize("path", ["/", "/graphql", "/static/nothing", "/nothing"])
def test_nothing_but_what_operators_ask_is_told_under_another_name(path: str) -> None:
    with client() as server:
        refused = server.get(path, headers={"host": "evil.example"})
        assert refused.status_code == 400
        assert refused.text == (
            "This server is not called evil.example. If it is, say so in GRAPHQL_APP_HOSTS."
        )
        assert server.get(path, headers={"origin": EVIL}).status_code == 403


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_what_operators_ask_is_told_under_any_name(path: str) -> None:
    with client() as server:
        assert server.get(path, headers={"host": "server-1.internal:3000"}).status_code == 200


def test_the_name_that_the_server_listens_on_is_its_own() -> None:
    with client(host="Chat.Internal") as server:
        assert statuses(server, {"host": "chat.internal:3000"}) == LET_IN


def test_who_follows_a_link_from_elsewhere_is_let_in_but_cannot_change_anything() -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    with client() as server:
        assert server.get("/", headers=link).status_code in (200, 503)  # It may not be built.
        change = {"query": "mutation { clearMessages }"}
        assert server.get("/graphql", params=change, headers=link).status_code == 405
        assert server.post("/graphql", json=change, headers=link).status_code == 403


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_no_request_that_a_form_can_make_changes_anything(content_type: str) -> None:
    with client() as server:
        answer = server.post(
            "/graphql",
            content=b'{"query": "mutation { clearMessages }"}',
            headers={"content-type": content_type},
        )
    assert answer.status_code == 415


def test_a_refused_request_runs_nothing_and_is_counted() -> None:
    send = """mutation { clearMessages }"""
    before = refusals("origin"), refusals("host")
    with client() as server:
        server.post("/graphql", json={"query": send}, headers={"origin": EVIL})
        server.post("/graphql", json={"query": send}, headers={"host": "evil.example"})
    assert (refusals("origin"), refusals("host")) == (before[0] + 1, before[1] + 1)


def refusals(reason: str) -> float:
    begin = f'graphql_app_refusals_total{{reason="{reason}"}} '
    lines = metrics.exposition().decode().splitlines()
    return sum(float(line.removeprefix(begin)) for line in lines if line.startswith(begin))


# CORS.


def test_a_listed_page_may_send_a_token_and_read_the_answer() -> None:
    with client(origins=APP) as server:
        asked = server.options("/graphql", headers={"origin": APP, **PREFLIGHT})
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == APP
        assert asked.headers["access-control-allow-methods"] == "GET, POST"
        allowed = asked.headers["access-control-allow-headers"].lower().split(", ")
        assert {"authorization", "content-type", "x-request-id"} <= set(allowed)
        assert "access-control-allow-credentials" not in asked.headers
        answer = server.post("/graphql", json=QUERY, headers={"origin": APP})
        assert answer.headers["access-control-allow-origin"] == APP
        assert "Retry-After" in answer.headers["access-control-expose-headers"].split(", ")
        assert "Origin" in answer.headers["vary"]


def test_a_listed_page_of_the_internet_may_use_a_server_of_its_private_network() -> None:
    private = {"access-control-request-private-network": "true"}
    with client(origins=APP) as server:
        asked = server.options("/graphql", headers={"origin": APP, **PREFLIGHT, **private})
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize("origin", [EVIL, "null", f"{APP}.evil.example", "http://app.example"])
def test_a_foreign_page_may_not_even_ask_whether_it_may(origin: str) -> None:
    with client(origins=APP) as server:
        asked = server.options("/graphql", headers={"origin": origin, **PREFLIGHT})
    assert asked.status_code == 403
    assert asked.headers["vary"] == "Origin"
    assert not [name for name in asked.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("method", ["DELETE", "PUT"])
def test_a_listed_page_may_only_do_what_graphql_takes(method: str) -> None:
    asking = {**PREFLIGHT, "origin": APP, "access-control-request-method": method}
    with client(origins=APP) as server:
        assert server.options("/graphql", headers=asking).status_code == 400


def test_nothing_but_graphql_is_there_for_other_pages() -> None:
    with client(origins=APP) as server:
        for path in ("/", "/healthz", "/metrics", "/static/x"):
            answer = server.get(path, headers={"origin": APP})
            assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_an_open_server_may_be_there_for_every_page() -> None:
    with client(origins="*", open=True) as server:
        assert statuses(server, {"origin": EVIL}) == LET_IN
        answer = server.post("/graphql", json=QUERY, headers={"origin": EVIL})
    assert answer.headers["access-control-allow-origin"] == "*"


def test_a_server_with_tokens_may_be_there_for_every_page_that_has_one() -> None:
    with client(origins="*", jwt_secret=SECRET) as server:
        for origin in (EVIL, "null"):
            asked = server.options("/graphql", headers={"origin": origin, **PREFLIGHT})
            assert asked.status_code == 200
            assert "Authorization" in asked.headers["access-control-allow-headers"]
            refused = server.post("/graphql", json=QUERY, headers={"origin": origin})
            assert refused.status_code == 401
            bearer = {"authorization": f"Bearer {token()}"}
            answer = server.post("/graphql", json=QUERY, headers={"origin": origin, **bearer})
            assert answer.status_code == 200
            for each in (asked, refused, answer):
                assert each.headers["access-control-allow-origin"] == "*"
                # What browsers send by themselves is not for the pages of others.
                assert "access-control-allow-credentials" not in each.headers


# Headers of every answer.


def test_every_answer_says_that_it_is_no_page_and_is_not_kept() -> None:
    with client() as server:
        for answer in (
            server.post("/graphql", json=QUERY),
            server.post("/graphql", content=b"{"),
            server.put("/graphql"),
            server.get("/nothing"),
            server.get("/healthz"),
            server.get("/readyz"),
            server.get("/metrics"),
            server.get("/", headers={"host": "evil.example"}),
            server.get("/", headers={"origin": EVIL}),
            server.get("/static/nothing"),
        ):
            policy = answer.headers["content-security-policy"]
            assert policy == "default-src 'none'; frame-ancestors 'none'"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"
            assert "strict-transport-security" not in answer.headers
            assert "server" not in answer.headers


def test_an_event_stream_keeps_what_it_says_of_itself() -> None:
    subscription = {"query": 'subscription { sendMessage(message: {content: "a"}) { status } }'}
    with client() as server:
        answer = server.post("/graphql", json=subscription, headers={"accept": "text/event-stream"})
    assert "no-transform" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"


# Proxies.


class Seen:
    """An application behind a door that notes who came in."""

    def __init__(self, **options: Any) -> None:
        self._door = Door(**options)
        self.scope: Scope = {}

    def knock(self, kind: str, **headers: str) -> int:
        """Returns 0, or the status of the refusal."""
        self.scope = {
            "type": kind,
            "http_version": "1.1",
            "path": "/graphql",
            "method": "GET",
            "scheme": {"http": "http", "websocket": "ws"}[kind],
            "client": ("10.0.0.1", 40_000),
            "headers": [
                (name.replace("_", "-").encode(), value.encode())
                for name, value in {"host": "chat.example", **headers}.items()
            ],
        }
        refusal = self._door.refusal(self.scope)
        return 0 if refusal is None else refusal.status_code

    @property
    def client(self) -> tuple[str, str]:
        """The address and the scheme."""
        return self.scope["client"][0], self.scope["scheme"]


KINDS = {"http": "http", "websocket": "ws"}
FORWARDED = {"x_forwarded_for": "1.1.1.1, 203.0.113.9", "x_forwarded_proto": "https"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_trusted_says_of_the_client_is_not_believed(kind: str) -> None:
    for networks in ((), ("127.0.0.1",), ("10.0.0.2",)):
        seen = Seen(hosts=Hosts(["chat.example"]), proxies=Proxies(networks))
        assert seen.knock(kind, **FORWARDED) == 0
        assert seen.client == ("10.0.0.1", KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_trusted_proxy_says_of_the_client_is_believed(kind: str) -> None:
    seen = Seen(hosts=Hosts(["chat.example"]), proxies=Proxies(["10.0.0.0/24"]))
    assert seen.knock(kind, **FORWARDED) == 0
    assert seen.client == ("203.0.113.9", KINDS[kind] + "s")
    assert seen.knock(kind) == 0
    assert seen.client == ("10.0.0.1", KINDS[kind])
    assert seen.knock(kind, x_forwarded_proto="gopher") == 0
    assert seen.client == ("10.0.0.1", KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_that_was_forwarded_is_not_looked_at(kind: str) -> None:
    seen = Seen(proxies=Proxies(["10.0.0.0/24"]))
    assert seen.knock(kind, host="evil.example", x_forwarded_host="localhost") == 400
    assert seen.knock(kind, host="localhost", x_forwarded_host="evil.example") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_behind_https_a_page_without_it_is_foreign(kind: str) -> None:
    seen = Seen(hosts=Hosts(["chat.example"]), origins=Origins(), proxies=Proxies(["10.0.0.0/24"]))
    assert seen.knock(kind, origin="http://chat.example", **FORWARDED) == 403
    assert seen.knock(kind, origin="https://chat.example", **FORWARDED) == 0
    assert seen.knock(kind, origin="http://chat.example") == 0


def test_who_came_over_https_is_told_to_stay_there() -> None:
    app = create_app(Settings(completion="echo", trusted_proxies=("127.0.0.1",)))
    with TestClient(app, HERE, client=("127.0.0.1", 1)) as server:
        answer = server.get("/healthz", headers={"x-forwarded-proto": "https"})
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert "strict-transport-security" not in server.get("/healthz").headers


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [("1.1", [], 400), ("1.1", ["localhost", "localhost"], 400), ("1.0", [], 0), ("2", [], 400)],
)
def test_a_request_says_one_host_unless_it_is_older_than_that(
    version: str, hosts: list[str], status: int
) -> None:
    scope = {
        "type": "http",
        "http_version": version,
        "path": "/graphql",
        "headers": [(b"host", host.encode()) for host in hosts],
    }
    refusal = Door().refusal(scope)
    assert (0 if refusal is None else refusal.status_code) == status


def test_what_operators_ask_is_open_below_a_prefix_too() -> None:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "root_path": "/chat",
        "path": "/chat/healthz",
        "headers": [(b"host", b"server-1")],
    }
    assert Door().refusal(scope) is None


async def test_an_application_below_a_prefix_has_the_same_door() -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    class Silent:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise AssertionError("nothing comes here")

    outer = Starlette(
        routes=[Mount("/chat", create_app(Settings(completion="echo"))), Mount("/", Silent())]
    )
    server = TestClient(outer, HERE)
    assert server.get("/chat/graphql", params=QUERY).status_code == 200
    assert server.get("/chat/graphql", params=QUERY, headers={"origin": EVIL}).status_code == 403
    assert status_of_socket_below(server) == 403


def status_of_socket_below(server: TestClient) -> int:
    try:
        with server.websocket_connect(
            "ws://localhost:3000/chat/graphql", subprotocols=[PROTOCOL], headers={"origin": EVIL}
        ):
            return 101
    except WebSocketDenialResponse as refusal:
        return refusal.status_code
