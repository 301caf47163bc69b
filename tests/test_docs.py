"""The documentation: its examples are run, and what it lists is what there is."""

import asyncio
import inspect
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import fields
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import build_schema, parse, validate
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.models.test import TestModel

from graphql_app import CompletionError, Message, ReplyErrorCode, Role, Status, cli, errors
from graphql_app.api import failures
from graphql_app.completions import open_completion
from graphql_app.messages import Usage, common_prefix, utf16_length, utf16_tail
from graphql_app.settings import PREFIX, Settings
from graphql_app.stores import BACKENDS as SCHEMES
from graphql_app.stores import open_store
from graphql_app.testing import CompletionContract
from tests.contracts.backends import BACKENDS
from tests.end_to_end.node import need_node, run_script
from tests.processes import ServerProcess, serving
from tests.providers import failing, hanging, saying, scripted_provider
from tests.servers import PostgresServer, RedisServer, free_port, running
from tests.tokens import SECRET, token
from tests.wire import PATIENCE_SECONDS, RESUME, SEND, open_socket

ROOT = Path(__file__).parent.parent
DOCUMENTED_ADDRESS = "127.0.0.1:3000"
RUN_SECONDS = 30.0
ECHO = ("--completion", "echo", "--word-delay", "0")

README = (ROOT / "README.md").read_text()
STREAMING = (ROOT / "docs/streaming.md").read_text()
MODELS = (ROOT / "docs/how-to/plug-in-your-model.md").read_text()
AUTHENTICATE = (ROOT / "docs/how-to/authenticate.md").read_text()
CONFIGURE = (ROOT / "docs/how-to/configure.md").read_text()
SQLITE = (ROOT / "docs/how-to/sqlite.md").read_text()
POSTGRESQL = (ROOT / "docs/how-to/postgresql.md").read_text()
REDIS = (ROOT / "docs/how-to/redis.md").read_text()
STORES = [ROOT / f"docs/how-to/{name}.md" for name in ("memory", "sqlite", "postgresql", "redis")]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "client/README.md"])

# U+1F600 to U+1F602 share their first surrogate.
texts = st.text(
    st.sampled_from("ab \n\u00e9\u65e5\U0001f600\U0001f602\u200d\U0010ffff"), max_size=20
)


def blocks(page: str, language: str = "") -> list[str]:
    """The fenced blocks of a page in one language, in their order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [block for name, block in found if name == language]


def rows(page: str) -> list[list[str]]:
    """The cells of all lines of all tables of a page, without backquotes."""
    return [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|")
    ]


def section(page: str, heading: str) -> str:
    """What stands below one heading, up to the next."""
    _, _, rest = page.partition(f"\n{heading}\n")
    return rest.partition("\n## ")[0]


def anchors(page: str) -> set[str]:
    """The fragments that name a page's headings on GitHub."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Writes answers.py into the current folder, which is empty; it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(code: str) -> None:
        (tmp_path / "answers.py").write_text(code)

    yield write
    sys.modules.pop("answers", None)


def asking(content: str) -> list[Message]:
    """A conversation that has one message."""
    return [Message("m", "c", Role.USER, content, Status.DONE, datetime.now(UTC))]


def test_the_python_example_of_the_readme_prints_a_reply_and_how_it_ended(tmp_path: Path) -> None:
    [example] = blocks(README, "python")
    assert DOCUMENTED_ADDRESS in example
    with serving(*ECHO) as server:
        script = tmp_path / "example.py"
        script.write_text(example.replace(DOCUMENTED_ADDRESS, f"127.0.0.1:{server.port}"))
        run = subprocess.run(
            [sys.executable, "-W", "error", script],
            capture_output=True,
            check=True,
            text=True,
            timeout=RUN_SECONDS,
        )
    assert (run.stdout, run.stderr) == ("Hello!\n[DONE]\n", "")


def test_the_curl_example_streams_a_reply_to_its_end() -> None:
    [command] = [block for block in blocks(STREAMING) if block.startswith("curl ")]
    words = shlex.split(command.replace("\\\n", " "))
    options = list(pairwise(words))
    [url] = [word for word in words if word.startswith("http://")]
    headers = dict(value.split(": ") for option, value in options if option == "-H")
    [body] = [value for option, value in options if option == "-d"]
    assert DOCUMENTED_ADDRESS in url
    with serving(*ECHO) as server:
        url = url.replace(DOCUMENTED_ADDRESS, f"127.0.0.1:{server.port}")
        answer = httpx.post(url, headers=headers, content=body, timeout=RUN_SECONDS).text
    assert '"status":"STREAMING"' in answer
    assert '"status":"DONE"' in answer
    assert answer.count("event: complete") == 1


async def test_the_first_example_of_own_code_answers(install: Callable[[str], None]) -> None:
    install(blocks(MODELS, "python")[0])
    assert "--completion answers:complete\n" in MODELS
    complete = open_completion("answers:complete")
    assert [text async for text in complete(asking("how are you"))] == ["HOW ", "ARE ", "YOU "]


async def test_the_adapter_to_a_providers_client_hands_on_what_it_says(
    install: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted_provider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        install(blocks(MODELS, "python")[1])
        await CompletionContract(open_completion("answers:complete")).check_async()
        assert provider.requests[0].messages == [("user", "Hello! Who are you?")]
        provider.will(hanging)
        answer = asyncio.ensure_future(anext(open_completion("answers:complete")(asking("why"))))
        request = await provider.asked(len(provider.requests) + 1)
        answer.cancel()
        await request.until_left()
        await sys.modules["answers"].client.close()


async def test_the_example_that_fails_ends_with_its_own_sentence(
    install: Callable[[str], None],
) -> None:
    install(blocks(MODELS, "python")[2])
    answer = open_completion("answers:complete")(asking("why"))
    assert await anext(answer) == "Let me think. "
    with pytest.raises(CompletionError, match=r"try again in an hour\.$") as failure:
        await anext(answer)
    assert failure.value.code is ReplyErrorCode.COMPLETION_FAILED


async def test_the_example_that_tells_what_was_used_does(install: Callable[[str], None]) -> None:
    install(blocks(MODELS, "python")[3])
    complete = open_completion("answers:complete")
    used = Usage(model="two-words-1", input_tokens=1, output_tokens=2)
    assert [piece async for piece in complete(asking("why"))] == ["Two words.", used]


async def test_the_agent_of_the_example_answers_with_its_tool(
    install: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    install(blocks(MODELS, "python")[4])
    assert "--completion answers:agent\n" in MODELS
    complete = open_completion("answers:agent")
    agent = sys.modules["answers"].agent
    with agent.override(model=TestModel()):
        pieces = [piece async for piece in complete(asking("Are you open?"))]
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == (
        '{"opening_hours":"open from 9 to 18"}'
    )


async def test_the_chain_of_the_example_goes_on_to_the_model_that_can(
    install: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted_provider() as first, scripted_provider() as second:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", first.url)
        monkeypatch.setenv("OLLAMA_BASE_URL", second.url)
        first.will(failing(503))
        second.will(saying("I ", "am ", "here."))
        install(blocks(MODELS, "python")[5])
        assert "--completion answers:model\n" in MODELS
        complete = open_completion("answers:model")
        pieces = [piece async for piece in complete(asking("Where are you?"))]
        assert "".join(piece for piece in pieces if isinstance(piece, str)) == "I am here."
        assert [request.body["model"] for request in first.requests] == ["gpt-5-mini"]
        assert [request.body["model"] for request in second.requests] == ["qwen3"]


def test_the_example_that_checks_the_contract_passes_for_the_first_one(tmp_path: Path) -> None:
    (tmp_path / "answers.py").write_text(blocks(MODELS, "python")[0])
    (tmp_path / "test_answers.py").write_text(blocks(MODELS, "python")[6])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr


async def test_a_compatible_server_answers_as_documented() -> None:
    [command] = re.findall(r"^    (OPENAI_BASE_URL=.*)$", MODELS, re.MULTILINE)
    variable, program, serve, *options = shlex.split(command)
    name, _, url = variable.partition("=")
    assert (program, serve) == ("graphql-app", "serve")
    assert f"| Ollama | `{url}` |" in MODELS
    async with scripted_provider() as provider:
        provider.will(saying("I am ", "here."))
        with serving(*options, environment={name: provider.url}) as server:
            async with open_socket(server.url) as socket:
                reply = await socket.follow(SEND, {"message": {"id": "m", "content": "Hello!"}})
        assert (reply.content, reply.status) == ("I am here.", "DONE")
        assert provider.requests[0].path == "/v1/chat/completions"
        assert provider.requests[0].body["model"] == "qwen3"


def test_all_that_can_go_wrong_with_a_model_is_listed() -> None:
    listed = {code for _, code, _ in rows(section(MODELS, "## What goes wrong"))[2:]}
    servers_own = {ReplyErrorCode.PRODUCER_LOST, ReplyErrorCode.SERVER_SHUTDOWN}
    assert listed == set(ReplyErrorCode) - servers_own


def test_every_option_of_the_contract_is_listed() -> None:
    table = rows(section(MODELS, "## Test your completion"))[2:]
    listed = {option.partition("=")[0] for option, _ in table}
    assert listed == {field.name for field in fields(CompletionContract)} - {"completion"}


def test_there_are_no_examples_that_no_test_runs() -> None:
    counts = {
        (str(page.relative_to(ROOT)), language): len(found)
        for page in PAGES
        for language in ("python", "sh", "sql")
        if (found := blocks(page.read_text(), language))
    }
    assert counts == {
        ("README.md", "python"): 1,
        ("docs/how-to/authenticate.md", "python"): 2,
        ("docs/how-to/authenticate.md", "sh"): 1,
        ("docs/how-to/plug-in-your-model.md", "python"): 7,
        ("docs/how-to/postgresql.md", "sh"): 2,
        ("docs/how-to/postgresql.md", "sql"): 3,
        ("docs/how-to/redis.md", "sh"): 4,
        ("docs/how-to/sqlite.md", "sh"): 2,
        ("docs/how-to/sqlite.md", "sql"): 1,
        ("docs/streaming.md", "python"): 1,
    }


# Tokens


def test_the_way_to_try_tokens_out_goes_as_it_is_written(tmp_path: Path) -> None:
    port = str(free_port())
    [block] = blocks(AUTHENTICATE, "sh")
    printed = run_shell(
        f"trap 'kill %1' EXIT\n{block}",
        tmp_path,
        {
            "graphql-app ": f"{sys.executable} -m graphql_app ",
            "--completion echo &": f"--completion echo --word-delay 0 --port {port} >log 2>&1 &\n"
            f"until curl -s http://127.0.0.1:{port}/healthz >here; do sleep 0.1; done",
            DOCUMENTED_ADDRESS: f"127.0.0.1:{port}",
            "graphql_app chat": "graphql_app chat <<<'Hello, chat.'",
        },
        {"GRAPHQL_APP_URL": f"ws://127.0.0.1:{port}/graphql"},
    )
    refused, answered, said = re.fullmatch(r"(\{.*\})(\{.*\})(Hello.*\n)", printed).groups()  # type: ignore[union-attr]
    assert "UNAUTHENTICATED" in refused
    assert answered == '{"data":{"conversations":[]}}'
    assert said == "Hello, chat.\n"


@pytest.mark.parametrize(("number", "printed"), [(0, "{'conversations': []}\n"), (1, "Hello!")])
def test_the_examples_that_bring_a_token_are_let_in(
    tmp_path: Path, number: int, printed: str
) -> None:
    example = blocks(AUTHENTICATE, "python")[number]
    assert DOCUMENTED_ADDRESS in example
    with serving(*ECHO, environment={f"{PREFIX}JWT_SECRET": SECRET}) as server:
        script = tmp_path / "example.py"
        script.write_text(example.replace(DOCUMENTED_ADDRESS, f"127.0.0.1:{server.port}"))
        run = subprocess.run(
            # gql leaves a loop open, so warnings are no errors here.
            [sys.executable, script],
            env={**os.environ, "TOKEN": token()},
            capture_output=True,
            check=True,
            text=True,
            timeout=RUN_SECONDS,
        )
    assert (run.stdout, run.stderr) == (printed, "")


async def test_the_example_of_a_javascript_client_that_brings_a_token_is_let_in() -> None:
    need_node()
    with serving(*ECHO, environment={f"{PREFIX}JWT_SECRET": SECRET}) as server:
        options = {"query": "{ conversations { id } }", "token": token()}
        results = await run_script("authenticate.mjs", server.url, options=options)
    assert results == [{"data": {"conversations": []}}]


# Stores


def require(store: str) -> None:
    """Skips the test if a store's server is not installed; in CI, fails it."""
    [backend] = [backend for backend in BACKENDS if backend.id == store]
    backend.require()


SHORT_LEASES = {f"{PREFIX}LEASE_SECONDS": "1"}

KEPT = [
    ("words 3", "DONE", None),
    ("w w w ", "DONE", None),
    ("wait", "DONE", None),
    ("waiting", "ERROR", {"code": "PRODUCER_LOST"}),
]
"""What `say_something` leaves behind when its server is gone."""


def answering(store: str) -> Any:
    completion = ("--completion", "tests.end_to_end.answers:complete")
    return serving("--store", store, *completion, environment=SHORT_LEASES, directory=ROOT)


async def say_something(server: ServerProcess) -> None:
    """Leaves a reply that is done, and one that streams."""
    async with open_socket(server.url) as socket:
        for content, chunks in (("words 3", None), ("wait", 2)):
            draft = {"message": {"id": f"to {content}", "content": content}}
            await socket.follow(SEND, draft, most_chunks=chunks)


async def listed(server: ServerProcess) -> list[dict[str, Any]]:
    query = "{ messages { id role content status error { code } } }"
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
        answer = await http.post(f"{server.http}/graphql", json={"query": query})
    messages: list[dict[str, Any]] = answer.json()["data"]["messages"]
    return messages


async def check_kept(store: str) -> None:
    """Fails if a server at a store does not show what was said before, or not its truth."""
    with answering(store) as server:
        async with open_socket(server.url) as socket:
            for message in await listed(server):
                if message["role"] == "ASSISTANT":
                    await socket.follow(RESUME, {"message": {"id": message["id"]}})
        kept = [
            (message["content"], message["status"], message["error"])
            for message in await listed(server)
        ]
    assert kept == KEPT


def run_shell(
    block: str,
    folder: Path,
    changes: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """What a documented command prints in a folder; what it says of a place is changed before."""
    for documented, real in (changes or {}).items():
        assert documented in block
        block = block.replace(documented, real)
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("page", STORES, ids=lambda page: page.stem)
def test_every_url_of_a_store_is_one(page: Path) -> None:
    urls = [
        url
        for url in re.findall(r"`([\w+]+://[^`\s]*)`", page.read_text())
        if url.partition(":")[0] in SCHEMES
        and "\u2026" not in url
        and not url.endswith(("s://", "sentinel://"))
    ]
    assert urls
    for url in urls:
        open_store(url)


async def test_what_the_readme_kills_is_still_there(tmp_path: Path) -> None:
    serve, chat, kill = re.findall(
        r"^    (.*(?:serve --store|-app chat|kill).*)$", README, re.MULTILINE
    )[-3:]
    assert kill == "kill -9 $!"
    [history] = re.findall(r"`(\.venv/bin/graphql-app chat --history 10)`", README)
    options = shlex.split(serve.removesuffix(" &"))[2:]
    assert options[0] == "--store"

    async def run(command: str, server: ServerProcess, typed: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "graphql_app", *shlex.split(command)[1:]),
            env={**os.environ, f"{PREFIX}URL": server.url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        printed, _ = await asyncio.wait_for(process.communicate(typed.encode()), RUN_SECONDS)
        return printed.decode()

    with serving(*options, *ECHO, directory=tmp_path) as server:
        assert "Are you there?" in await run(chat, server, "Are you there?\n")
        server.process.kill()
    with serving(*options, *ECHO, directory=tmp_path) as server:
        assert (await run(history, server, "")).count("Are you there?") == 2


async def test_a_backup_of_sqlite_holds_what_was_said_and_a_copy_of_the_file_does_not(
    tmp_path: Path,
) -> None:
    backup, restore = blocks(SQLITE, "sh")
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    with answering(url) as server:
        await say_something(server)
        run_shell(backup, tmp_path)
        shutil.copy(tmp_path / "chat.db", tmp_path / "copy.db")
        await say_something_later(server)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy, suppress(sqlite3.OperationalError):
        # Perhaps there is not even a table.
        assert copy.execute("SELECT count(*) FROM message").fetchone() < (len(KEPT),)
    run_shell(restore, tmp_path)
    await check_kept(url)


async def say_something_later(server: ServerProcess) -> None:
    async with open_socket(server.url) as socket:
        await socket.follow(SEND, {"message": {"id": "later", "content": "words 1"}})


async def test_sqlite_is_watched_as_documented(tmp_path: Path) -> None:
    [watch] = blocks(SQLITE, "sql")
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    with answering(url) as server:
        await say_something(server)
        with closing(sqlite3.connect(tmp_path / "chat.db")) as reader:
            found = reader.execute(watch).fetchall()
    assert sorted(found) == [("DONE", None, 1), ("STREAMING", None, 1)]


async def test_a_backup_of_postgresql_is_restored_into_an_empty_database(tmp_path: Path) -> None:
    require("postgresql")
    dump, restore = blocks(POSTGRESQL, "sh")
    create, connections, ends = blocks(POSTGRESQL, "sql")
    server = PostgresServer(tmp_path)
    with running(server):
        # The server has a superuser of that name; the documented one has to do without.
        run_sql(server, create.replace("chat", "talk"))
        at_place = f"postgresql://talk:secret@127.0.0.1:{server.port}"
        documented = "postgresql://chat:secret@127.0.0.1"
        with answering(f"{at_place}/talk") as chat:
            await say_something(chat)
            run_shell(dump, tmp_path, {f"{documented}/chat": f"{at_place}/talk"})
            assert "idle" in run_sql(server, connections.replace("'chat'", "'talk'"))
            assert "STREAMING" in run_sql(server, ends, "talk")
            await say_something_later(chat)
        run_shell(
            restore,
            tmp_path,
            {documented: at_place, "--owner=chat": "--owner=talk"},
            {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "chat"},
        )
        await check_kept(f"{at_place}/restored")


def run_sql(server: PostgresServer, statements: str, database: str = "postgres") -> str:
    """What PostgreSQL's administrator reads when running documented statements, one a line."""
    return "".join(server.run_sql(line, database) for line in statements.splitlines())


async def test_a_backup_of_redis_is_the_base_of_a_new_append_only_file(tmp_path: Path) -> None:
    require("redis")
    serve, backup, restore, watch = blocks(REDIS, "sh")
    name, *options = shlex.split(serve)
    assert name == "redis-server"
    with running(RedisServer(tmp_path, *options)) as redis:
        place = {"redis://127.0.0.1:6379": redis.url}
        with answering(redis.url) as chat:
            await say_something(chat)
            run_shell(backup, tmp_path, place)
            assert run_shell(watch, tmp_path, place) == "1\n"
            await say_something_later(chat)
    run_shell(restore, tmp_path)
    with running(RedisServer(tmp_path, *options)) as redis:
        await check_kept(redis.url)


async def test_a_redis_with_an_append_only_file_ignores_a_snapshot(tmp_path: Path) -> None:
    require("redis")
    _, backup, *_ = blocks(REDIS, "sh")
    with running(RedisServer(tmp_path)) as redis:
        with answering(redis.url) as chat:
            await say_something(chat)
        run_shell(backup, tmp_path, {"redis://127.0.0.1:6379": redis.url})
    shutil.rmtree(tmp_path / "appendonlydir")
    (tmp_path / "backup.rdb").rename(tmp_path / "dump.rdb")
    with running(RedisServer(tmp_path)) as redis, answering(redis.url) as chat:
        assert await listed(chat) == []


async def test_a_user_of_redis_may_do_what_the_store_needs_and_no_more(tmp_path: Path) -> None:
    require("redis")
    [rule] = [block for block in blocks(REDIS) if block.startswith("ACL SETUSER chat")]
    with running(RedisServer(tmp_path)) as redis:
        place = f"127.0.0.1:{redis.port}"
        cli = f"redis-cli -u redis://{place} "
        assert (
            run_shell(
                cli + rule.replace(">secret", "'>secret'").replace("~", "'~'").replace("&", "'&'"),
                tmp_path,
            )
            == "OK\n"
        )
        with answering(f"redis://chat:secret@{place}?ttl=1s") as chat:
            await say_something(chat)
            async with open_socket(chat.url) as socket:
                await socket.execute("mutation { clearMessages }")
        assert run_shell(f"{cli} ACL LOG", tmp_path).strip() == ""
        refused = run_shell(f"redis-cli -u redis://chat:secret@{place} FLUSHALL", tmp_path)
        assert "NOPERM" in refused


# Protocol and settings


@given(texts, texts, texts)
def test_the_rule_in_python_corrects_any_text_that_a_client_may_have(
    shared: str, shown: str, stored: str
) -> None:
    namespace: dict[str, Any] = {}
    exec(blocks(STREAMING, "python")[0], namespace)
    shown, stored = shared + shown, shared + stored
    offset, text = utf16_tail(stored, utf16_length(common_prefix(shown, stored)))
    assert namespace["apply"](shown, offset, text) == stored


def test_every_graphql_example_is_valid() -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text())
    examples = blocks(STREAMING, "graphql")
    assert examples
    for example in examples:
        assert validate(schema, parse(example)) == [], example


def test_every_setting_is_listed_with_its_option_and_its_default() -> None:
    listed = {
        variable.removeprefix(PREFIX).lower(): (option, default)
        for option, variable, default, _ in rows(CONFIGURE)
        if variable.startswith(PREFIX)
    }
    assert listed.keys() == Settings.model_fields.keys()
    options = inspect.signature(cli.serve).parameters
    for name, (option, default) in listed.items():
        expected = Settings.model_fields[name].default
        shown = "" if expected in (None, ()) else str(expected).lower()
        assert default in (shown, f"{expected:g}" if isinstance(expected, float) else shown), name
        assert option == (f"--{name.replace('_', '-')}" if name in options else ""), name


def test_the_table_of_errors_has_all_codes_that_clients_can_see() -> None:
    expected = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.ChatError)
        and kind is not errors.ChatError
    }
    expected |= {value for name, value in vars(failures).items() if name == value}
    table = rows(section(STREAMING, "## 9. Errors"))
    listed = {code for cells in table for code in cells[0].split(", ") if code.isupper()}
    assert listed == expected


@pytest.mark.parametrize("code", ReplyErrorCode)
def test_every_reason_why_a_reply_ends_as_error_is_documented(code: ReplyErrorCode) -> None:
    assert f"`{code}`" in section(STREAMING, "## 5. How a stream ends")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target.read_text()), link
