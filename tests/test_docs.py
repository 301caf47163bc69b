"""The documentation: its examples are run, and what it lists is what there is."""

import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import build_schema, parse, validate
from hypothesis import given
from hypothesis import strategies as st

from graphql_app import CompletionError, Message, ReplyErrorCode, Role, Status, cli, errors
from graphql_app.api import failures
from graphql_app.completions import open_completion
from graphql_app.messages import common_prefix, utf16_length, utf16_tail
from graphql_app.settings import PREFIX, Settings
from tests.processes import serving

ROOT = Path(__file__).parent.parent
DOCUMENTED_ADDRESS = "127.0.0.1:3000"
RUN_SECONDS = 30.0
ECHO = ("--completion", "echo", "--word-delay", "0")

README = (ROOT / "README.md").read_text()
STREAMING = (ROOT / "docs/streaming.md").read_text()
OWN_CODE = (ROOT / "docs/how-to/answer-with-your-own-code.md").read_text()
CONFIGURE = (ROOT / "docs/how-to/configure.md").read_text()
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
    install(blocks(OWN_CODE, "python")[0])
    assert "--completion answers:complete\n" in OWN_CODE
    complete = open_completion("answers:complete")
    assert [text async for text in complete(asking("how are you"))] == ["HOW ", "ARE ", "YOU "]


async def test_the_second_example_of_own_code_ends_with_its_own_sentence(
    install: Callable[[str], None],
) -> None:
    install(blocks(OWN_CODE, "python")[1])
    answer = open_completion("answers:complete")(asking("why"))
    assert await anext(answer) == "Let me think. "
    with pytest.raises(CompletionError, match=r"try again in an hour\.$") as failure:
        await anext(answer)
    assert failure.value.code is ReplyErrorCode.COMPLETION_FAILED


def test_there_are_no_examples_that_no_test_runs() -> None:
    counts = {
        str(page.relative_to(ROOT)): len(blocks(page.read_text(), "python"))
        for page in PAGES
        if "```python" in page.read_text()
    }
    assert counts == {
        "README.md": 1,
        "docs/how-to/answer-with-your-own-code.md": 2,
        "docs/streaming.md": 1,
    }


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
        assert type(expected)(default) == expected, name
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
