"""The command, and its page."""

import json
import re
from pathlib import Path

from graphql_app.doctor import examine
from graphql_app.settings import PREFIX
from tests.processes import refusing
from tests.servers import free_port

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/how-to/doctor.md").read_text()


def test_findings_come_by_area() -> None:
    areas = [finding.name.partition(".")[0] for finding in examine({"port": free_port()})]
    assert list(dict.fromkeys(areas)) == sorted(set(areas), key=areas.index)
    assert areas == sorted(areas, key=areas.index)
    every = "settings access store model limits clock port pages"
    assert set(areas) == set(every.split())


def test_the_page_explains_each_finding() -> None:
    source = "".join(file.read_text() for file in (ROOT / "graphql_app/doctor").glob("*.py"))
    names = set(re.findall(r'\b(?:ok|warn|fail)\(\s*"([a-z]+\.[a-z]+)"', source))
    explained = set(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", PAGE, re.MULTILINE))
    assert names == explained
    assert len(names) > 15


def test_the_command_tells_people_and_programs_the_same() -> None:
    options = ("--port", str(free_port()), "--workers", "2")
    told = refusing(*options, command="doctor")
    assert told.returncode == 2
    assert "2 workers cannot share memory://." in told.stdout
    assert "\x1b" not in told.stdout
    read = json.loads(refusing("--json", *options, command="doctor").stdout)
    assert read["level"] == "fail"
    assert {"name", "level", "sentence", "advice"} == read["findings"][0].keys()
    for finding in read["findings"]:
        assert finding["name"] in told.stdout


def test_a_setting_that_cannot_be_used_ends_the_examination() -> None:
    told = refusing(command="doctor", environment={f"{PREFIX}PORT": "many"})
    assert told.returncode == 2
    assert "port" in told.stdout
    assert "store." not in told.stdout


def test_options_that_serve_does_not_have_are_refused() -> None:
    told = refusing("--stoer", "memory://", command="doctor")
    assert told.returncode == 2
    assert "--stoer" in told.stderr


def test_no_password_is_told() -> None:
    url = f"postgresql://chat:Yaeph9ieCanary@127.0.0.1:{free_port()}/chat"
    told = refusing("--store", url, command="doctor")
    assert told.returncode == 2
    assert "cannot be reached" in told.stdout
    assert "Canary" not in told.stdout + told.stderr


def test_a_store_that_is_away_is_told_once() -> None:
    told = refusing("--store", f"redis://127.0.0.1:{free_port()}", command="doctor")
    assert "store.reachable" in told.stdout
    assert told.stderr == ""
