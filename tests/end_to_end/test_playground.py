"""The playground: GraphiQL at /graphql, for browsers."""

import httpx
import pytest

from tests.end_to_end.node import (
    PLAYGROUND,
    need_chromium,
    need_node,
    need_playground,
    run_script,
)
from tests.processes import ServerProcess

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_a_browser_gets_the_page_or_reads_how_to_build_it(server: ServerProcess) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{server.http}/graphql", headers=BROWSER)
    if PLAYGROUND.is_file():
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.text == PLAYGROUND.read_text()
    else:
        assert answer.status_code == 503
        assert answer.text == "This page was not built; `make setup` builds it."


async def test_a_browser_that_brings_a_query_gets_its_answer(server: ServerProcess) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.get(
            f"{server.http}/graphql", params={"query": "{ __typename }"}, headers=BROWSER
        )
    assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.timeout(180)
async def test_the_page_streams_a_reply_and_asks_no_other_host_for_anything(
    server: ServerProcess,
) -> None:
    need_node()
    need_chromium()
    need_playground()
    seen = await run_script("playground.mjs", f"{server.http}/graphql")
    assert seen["errors"] == []
    assert seen["foreignRequests"] == []
    assert seen["done"], seen["response"]
