"""What the program depends on: lowest versions, licences, and the bill of materials."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.version import Version

from deploy import dependencies
from deploy.dependencies import Package, expression, refused

ROOT = Path(__file__).parent.parent

ADVISORIES = {
    "strawberry-graphql": "0.327.2",
    "graphql-core": "3.3.2",
    "starlette": "1.3.1",
    "uvicorn": "0.52.1",
    "redis": "4.5.4",
}
"""The lowest versions without a known hole, November 2026."""


def floors() -> dict[str, Version]:
    return {
        name: Version(version.partition(";")[0])
        for name, _, version in (line.partition("==") for line in dependencies.floors())
    }


@pytest.mark.parametrize(("name", "version"), ADVISORIES.items())
def test_no_version_is_allowed_that_has_a_known_hole(name: str, version: str) -> None:
    assert floors()[name] >= Version(version)


def test_each_direct_dependency_has_a_lowest_version() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {Requirement(text).name for text in declared["dependencies"]}
    assert names <= floors().keys()
    assert {"redis", "sqlalchemy", "pydantic-ai-slim", "opentelemetry-sdk"} <= floors().keys()
    assert "pytest" not in floors()


def test_a_dependency_without_a_lowest_version_is_refused(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["orjson<4"]\n[project.optional-dependencies]\nx = []\n'
    )
    with pytest.raises(ValueError, match="orjson"):
        list(dependencies.floors(project))


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("MIT License", "MIT"),
        ("MIT", "MIT"),
        ("Apache Software License; MIT License", "Apache-2.0 AND MIT"),
        ("MIT License\n\nCopyright (c) 2022", "MIT"),
        ("(MPL-2.0 OR Apache-2.0)", "MPL-2.0 OR Apache-2.0"),
        ("UNKNOWN", "UNKNOWN"),
    ],
)
def test_what_packages_call_a_licence_is_understood(said: str, understood: str) -> None:
    assert expression(said) == understood


@pytest.mark.parametrize(
    "licence",
    [
        "GPL-3.0-only",
        "AGPL-3.0",
        "LGPL-2.1",
        "UNKNOWN",
        "",
        "MIT AND GPL-2.0",
        "MPL-2.0",
        "SSPL-1.0",
    ],
)
def test_a_licence_that_is_unknown_or_reaches_far_is_refused(licence: str) -> None:
    package = Package("stranger", "1.0", licence)
    assert refused([package]) == [package]


@pytest.mark.parametrize(
    "package",
    [
        Package("a", "1", "MIT"),
        Package("b", "1", "GPL-2.0 OR MIT"),
        Package("orjson", "1", "MPL-2.0 AND (Apache-2.0 OR MIT)"),
        Package("dompurify", "1", "MPL-2.0 OR Apache-2.0"),
    ],
)
def test_a_licence_that_asks_for_little_is_not(package: Package) -> None:
    assert refused([package]) == []


def test_all_that_is_installed_or_bundled_has_a_licence_that_asks_for_little() -> None:
    packages = [*dependencies.installed(), *dependencies.bundled()]
    assert {"starlette", "orjson", "redis", "openai", "react"} <= {each.name for each in packages}
    assert "pytest" not in {each.name for each in packages}
    assert refused(packages) == []


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="it lists what Python 3.11 needs")
def test_the_list_of_licences_is_true() -> None:
    assert (ROOT / "docs/licences.md").read_text() == dependencies.page(), "run `make licences`"


def test_the_bill_of_materials_is_one_and_has_all_that_is_there() -> None:
    text = json.dumps(bill := dependencies.bill())
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    versions = {each["name"]: each["version"] for each in bill["components"]}
    packages = [*dependencies.installed(), *dependencies.bundled()]
    assert {package.name for package in packages} <= {name.lower() for name in versions} | {
        name.replace("_", "-") for name in versions
    } | versions.keys()
    assert "pytest" not in versions
    assert [each["name"] for each in bill["components"] if not each.get("licenses")] == []
    assert bill["metadata"]["component"]["name"] == "graphql-app"


def test_a_command_that_there_is_not_says_which_there_are() -> None:
    script = ROOT / "deploy/dependencies.py"
    done = subprocess.run(
        [sys.executable, script, "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "floors | licences | sbom" in done.stderr


def test_every_locked_file_has_a_hash() -> None:
    blocks = (ROOT / "requirements.txt").read_text().replace("\\\n", " ").splitlines()
    lines = [line for line in blocks if line.strip() and not line.startswith("#")]
    assert len(lines) > 100
    assert [line.split()[0] for line in lines if "--hash=sha256:" not in line] == []
