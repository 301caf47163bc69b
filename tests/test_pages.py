"""The pages for browsers: what is sent, for how long it is kept, and what it may do there."""

import gzip
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from graphql_app.pages import CHAT, PLAYGROUND, Pages

SCRIPT = "console.log('a chat');\n" * 100
ASSET = "/static/assets/chat-5f3a9c.js"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build."""
    (tmp_path / "assets").mkdir()
    (tmp_path / CHAT).write_text("<h1>Chat</h1>")
    (tmp_path / PLAYGROUND).write_text("<h1>Playground</h1>")
    (tmp_path / "licenses.md").write_text("# Licences")
    (tmp_path / "assets" / "chat-5f3a9c.js").write_text(SCRIPT)
    return tmp_path


def browser(folder: Path) -> httpx.AsyncClient:
    pages = Pages(folder)

    async def home(request: Request) -> Response:
        return await pages.page(CHAT, request)

    app = Starlette(routes=[Route("/", home), Mount("/static", pages)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")


def directives(policy: str) -> dict[str, str]:
    """A Content-Security-Policy, by the names of its directives."""
    return {
        name: sources
        for name, _, sources in (each.strip().partition(" ") for each in policy.split(";"))
    }


async def test_the_chat_is_sent_as_a_page(folder: Path) -> None:
    async with browser(folder) as client:
        answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.text == "<h1>Chat</h1>"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", ["/", f"/static/{CHAT}", f"/static/{PLAYGROUND}"])
async def test_a_page_may_load_nothing_from_elsewhere(folder: Path, path: str) -> None:
    async with browser(folder) as client:
        answer = await client.get(path)
    policy = directives(answer.headers["content-security-policy"])
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    sources = {source for sources in policy.values() for source in sources.split()}
    assert sources <= {"'none'", "'self'", "data:", "'unsafe-inline'"}
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_only_the_playground_makes_its_own_styles(folder: Path) -> None:
    async with browser(folder) as client:
        chat, playground = await client.get("/"), await client.get(f"/static/{PLAYGROUND}")
    assert "unsafe" not in chat.headers["content-security-policy"]
    policy = directives(playground.headers["content-security-policy"])
    assert policy["style-src"] == "'self' 'unsafe-inline'"


@pytest.mark.parametrize("path", ["/", "/static/licenses.md"])
async def test_what_may_change_is_asked_for_each_time_and_sent_once(
    folder: Path, path: str
) -> None:
    async with browser(folder) as client:
        first = await client.get(path)
        again = await client.get(path, headers={"if-none-match": first.headers["etag"]})
        (folder / Path(path).name if path != "/" else folder / CHAT).write_text("other")
        changed = await client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert (changed.status_code, changed.text) == (200, "other")


async def test_an_asset_is_kept_for_good(folder: Path) -> None:
    async with browser(folder) as client:
        answer = await client.get(ASSET)
    assert answer.text == SCRIPT
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith(("text/javascript", "application/javascript"))
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_compressed_file_is_sent_to_who_takes_it(folder: Path) -> None:
    plain = folder / ASSET.removeprefix("/static/")
    plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    async with browser(folder) as client:
        small = await client.get(ASSET, headers={"accept-encoding": "gzip, br"})
        large = await client.get(ASSET, headers={"accept-encoding": "identity"})
        tag = {"if-none-match": small.headers["etag"]}
        again = await client.get(ASSET, headers={"accept-encoding": "gzip", **tag})
        other = await client.get(ASSET, headers={"accept-encoding": "identity", **tag})
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < len(SCRIPT) / 4
    assert "content-encoding" not in large.headers
    assert small.text == large.text == SCRIPT
    assert small.headers["content-type"] == large.headers["content-type"]
    assert small.headers["vary"] == large.headers["vary"] == "Accept-Encoding"
    assert (again.status_code, other.status_code) == (304, 200)


@pytest.mark.parametrize("folder_name", ["", "nowhere"])
async def test_without_a_build_there_is_a_sentence(tmp_path: Path, folder_name: str) -> None:
    async with browser(tmp_path / folder_name) as client:
        answer = await client.get("/")
        asset = await client.get(ASSET)
    assert answer.status_code == 503
    assert answer.text == "This page was not built; `make setup` builds it."
    assert asset.status_code == 404
