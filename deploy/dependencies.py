"""What the program depends on: `python deploy/dependencies.py floors | licences | sbom`.

floors      the lowest versions that pyproject.toml allows, as constraints for pip
licences    docs/licences.md: what is installed with the program, and bundled into its pages
sbom        the same as a software bill of materials, in CycloneDX

Only what an installation with all extras has counts, not what is for developing it.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = ROOT / "pyproject.toml"
BUNDLED = ROOT / "graphql_app/static/licenses.md"

NAME = "graphql-app"

PERMISSIVE = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CNRI-Python", "ISC", "MIT", "MIT-0",
        "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
    }
)  # fmt: skip
"""Licences that ask for their text to come along, and for little else."""

PER_FILE = {"MPL-2.0": frozenset({"certifi", "dompurify", "orjson"})}
"""Licences that ask for changes of their own files to be published, and who is used with them,
unchanged."""

CALLED = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
"""What packages call a licence, whose name in SPDX is another one."""


INTRODUCTION = """\
# Licences

graphql-app is under the [MIT licence](../LICENSE). This is what is installed with it, with all its
extras, and what is bundled into its pages, whose licences' texts the server has at
`/static/licenses.md`. `make licences` writes this page; a test keeps it true, and refuses licences
that are unknown, or that reach beyond the files that they cover.
"""


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package, and its licence: an expression of SPDX, or whatever it says."""

    name: str
    version: str
    licence: str


def extras(project: Path = PROJECT) -> list[str]:
    """All extras but the one for developing."""
    declared = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    return [name for name in declared if name != "dev"]


def floors(project: Path = PROJECT) -> Iterator[str]:
    """The lowest allowed version of each direct dependency, as pip takes constraints.

    Raises:
        ValueError: a dependency has none.
    """
    declared = tomllib.loads(project.read_text())["project"]
    lists = [declared["dependencies"]]
    lists += [declared["optional-dependencies"][extra] for extra in extras(project)]
    for requirement in (Requirement(text) for lines in lists for text in lines):
        lowest = [each.version for each in requirement.specifier if each.operator == ">="]
        if not lowest:
            raise ValueError(f"{requirement.name} has no lowest version")
        marker = f"; {requirement.marker}" if requirement.marker else ""
        yield f"{requirement.name}=={lowest[0]}{marker}"


def installed() -> list[Package]:
    """What an installation with all extras has in this environment, without the program."""
    seen: set[tuple[NormalizedName, frozenset[str]]] = set()
    waiting = [(canonicalize_name(NAME), frozenset(extras()))]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        for text in metadata.distribution(name).requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *wanted)
            ):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    names = {name for name, _ in seen if name != NAME}
    told = _run("piplicenses", "--from=mixed", "--format=json", "--with-system")
    found = {canonicalize_name(each["Name"]): each for each in json.loads(told)}
    return sorted(
        Package(name, found[name]["Version"], expression(found[name]["License"])) for name in names
    )


def bundled(file: Path = BUNDLED) -> list[Package]:
    """What is bundled into the built pages."""
    heading = re.compile(r"^## (?P<name>\S+) - (?P<version>\S+) \((?P<licence>.*)\)$", re.MULTILINE)
    return sorted(
        Package(found["name"], found["version"], expression(found["licence"]))
        for found in heading.finditer(file.read_text())
    )


def expression(said: str) -> str:
    """What a package says about its licence, as an expression of SPDX where that is known."""
    said = said.strip().partition("\n")[0]  # Some give the whole text.
    if ";" in said:  # Several classifiers; nobody says whether all of them or any.
        parts = [expression(part) for part in said.split(";")]
        return " AND ".join(sorted(parts))
    return CALLED.get(said, said.removeprefix("(").removesuffix(")"))


def refused(packages: Iterable[Package]) -> list[Package]:
    """Those whose licence is not known, or may ask for more than we can give."""
    return [package for package in packages if not _is_fine(package)]


def _is_fine(package: Package) -> bool:
    def fits(licence: str) -> bool:
        licence = licence.strip(" ()")
        return licence in PERMISSIVE or package.name in PER_FILE.get(licence, ())

    # Of all that is said with AND, of each choice that is left with OR, one.
    return all(
        any(fits(choice) for choice in part.split(" OR "))
        for part in re.split(r" AND (?![^(]*\))", package.licence)
    )


def page() -> str:
    """docs/licences.md."""
    python, pages = "\n".join(_table(installed())), "\n".join(_table(bundled()))
    return f"{INTRODUCTION}\n## Python\n\n{python}\n\n## The pages\n\n{pages}\n"


def _table(packages: Iterable[Package]) -> Iterator[str]:
    yield "| package | version | licence |"
    yield "|---|---|---|"
    for package in packages:
        yield f"| {package.name} | {package.version} | {package.licence} |"


def bill() -> dict[str, Any]:
    """The software bill of materials: what is installed, from its metadata, and what is bundled."""
    told = _run(
        *("cyclonedx_py", "environment", "--output-reproducible"),
        *("--pyproject", str(PROJECT), "--output-format", "JSON"),
    )
    found: dict[str, Any] = json.loads(told)
    licences = {package.name: package.licence for package in installed()}
    kept = [each for each in found["components"] if canonicalize_name(each["name"]) in licences]
    for each in kept:  # Some give the text, and no name of it.
        each.setdefault("licenses", [{"expression": licences[canonicalize_name(each["name"])]}])
    pages = [
        {
            "type": "library",
            "bom-ref": f"{package.name}@{package.version}",
            "name": package.name,
            "version": package.version,
            "purl": f"pkg:npm/{quote(package.name, safe='/')}@{package.version}",
            "licenses": [{"expression": package.licence}],
        }
        for package in bundled()
    ]
    root = found["metadata"]["component"]["bom-ref"]
    references = {root, *(each["bom-ref"] for each in (*kept, *pages))}
    dependencies = [
        {
            **each,
            "dependsOn": [to for to in each.get("dependsOn", ()) if to in references],
        }
        for each in found["dependencies"]
        if each["ref"] in references
    ]
    for each in dependencies:
        if each["ref"] == root:
            each["dependsOn"] = sorted({*each["dependsOn"], *(page["bom-ref"] for page in pages)})
    return {**found, "components": [*kept, *pages], "dependencies": dependencies}


def _run(module: str, *options: str) -> str:
    command = [sys.executable, "-m", module, *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


COMMANDS: dict[str, Callable[[], str]] = {
    "floors": lambda: "\n".join(floors()) + "\n",
    "licences": page,
    "sbom": lambda: json.dumps(bill(), indent=2) + "\n",
}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    sys.stdout.write(COMMANDS[sys.argv[1]]())
    return 0


if __name__ == "__main__":
    sys.exit(main())
