"""Who may knock: what is looked at before anything else, of sockets and requests alike."""

from collections.abc import Awaitable
from http import HTTPStatus

from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Scope, Send

from graphql_app import metrics
from graphql_app.access.hosts import Hosts, Place, place_from
from graphql_app.access.origins import Origins
from graphql_app.access.proxies import Proxies
from graphql_app.headers import completed

ALWAYS_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
"""What is asked by those who run the server, under whatever name they know it."""

SECURE_SCHEMES = frozenset({"https", "wss"})


class Door:
    """Refuses what has the wrong Host, or comes from a page that may not use this server."""

    def __init__(
        self,
        *,
        hosts: Hosts | None = None,
        origins: Origins | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._hosts = hosts or Hosts()
        self._origins = origins or Origins()
        self._proxies = proxies or Proxies()

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to who may not come in; None: he may.

        Of requests that come from a trusted proxy, `client` and `scheme` become what that says.
        """
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1"))
        self._believe_proxy(scope, headers)
        path: str = scope["path"]
        if path.removeprefix(scope.get("root_path", "")) in ALWAYS_OPEN:
            return None
        host, refusal = self._host(scope, headers.get(b"host", []))
        return refusal or self._refusal_of_page(scope, headers, host)

    def _believe_proxy(self, scope: Scope, headers: dict[bytes, list[str]]) -> None:
        peer = scope["client"][0] if scope.get("client") else ""
        if not self._proxies.trust(peer):
            return
        if addresses := headers.get(b"x-forwarded-for"):
            scope["client"] = (self._proxies.client(peer, addresses), 0)
        schemes = headers.get(b"x-forwarded-proto", [""])
        scheme = schemes[-1].rpartition(",")[2].strip().lower()
        if scheme in ("http", "https"):
            is_socket = scope["type"] == "websocket"
            scope["scheme"] = scheme.replace("http", "ws") if is_socket else scheme

    def _host(self, scope: Scope, values: list[str]) -> tuple[Place | None, Response | None]:
        if not values and scope.get("http_version") == "1.0":
            return None, None  # No browser has spoken that for decades.
        host = place_from(values[0]) if len(values) == 1 else None
        if host is None:
            return None, _refused("host", HTTPStatus.BAD_REQUEST, "A request needs one valid Host.")
        if not self._hosts.allow(host.host):
            return host, _refused(
                "host",
                HTTPStatus.BAD_REQUEST,
                f"This server is not called {host.host}. If it is, say so in GRAPHQL_APP_HOSTS.",
            )
        return host, None

    def _refusal_of_page(
        self, scope: Scope, headers: dict[bytes, list[str]], host: Place | None
    ) -> Response | None:
        if origins := headers.get(b"origin"):
            is_secure = scope.get("scheme") in SECURE_SCHEMES
            if all(self._origins.allow(each, host, is_secure=is_secure) for each in origins):
                return None
        elif not _is_embedded_elsewhere(scope, headers):
            return None
        return _refused(
            "origin",
            HTTPStatus.FORBIDDEN,
            "Pages of other origins may not use this server, but those in GRAPHQL_APP_ORIGINS.",
        )


def _is_embedded_elsewhere(scope: Scope, headers: dict[bytes, list[str]]) -> bool:
    """Whether a page of another origin asked for this as an image, a script and the like.

    Browsers say no Origin then. That somebody follows a link is something else.
    """
    if headers.get(b"sec-fetch-site", [""])[-1] not in ("cross-site", "same-site"):
        return False
    is_link = headers.get(b"sec-fetch-mode", [""])[-1] == "navigate"
    return not (is_link and scope.get("method") in ("GET", "HEAD"))


def _refused(reason: str, status: HTTPStatus, sentence: str) -> Response:
    metrics.refused(reason)
    return PlainTextResponse(sentence, status, {"Vary": "Origin"} if reason == "origin" else None)


def safely(scope: Scope, send: Send) -> Send:
    """What sends the answer to a request, with the headers that every answer has."""
    is_secure = scope.get("scheme") in SECURE_SCHEMES

    # No coroutine: event streams come here with each event.
    def send_safely(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            headers = completed(message.get("headers", ()), message["status"], is_secure=is_secure)
            message = {**message, "headers": headers}
        return send(message)

    return send_safely
