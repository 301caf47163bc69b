"""The public schema: what it promises, and that the file in the repository is it."""

import subprocess
import sys
from pathlib import Path

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLSchema,
    build_schema,
    find_breaking_changes,
)

from graphql_app.api.schema import schema, sdl

ROOT = Path(__file__).parents[2]


def contract() -> GraphQLSchema:
    """What clients may rely on; ours may add to it, and never take away."""
    return build_schema((Path(__file__).parent / "contract.graphql").read_text())


def elements(type: GraphQLNamedType) -> dict[str, str | None]:
    """The descriptions of a type and of everything in it, by name."""
    found = {type.name: type.description}
    if isinstance(type, GraphQLEnumType):
        found |= {f"{type.name}.{name}": value.description for name, value in type.values.items()}
    for name, field in getattr(type, "fields", {}).items():
        found[f"{type.name}.{name}"] = field.description
        if not isinstance(type, GraphQLInputObjectType):
            found |= {
                f"{type.name}.{name}({argument})": described.description
                for argument, described in field.args.items()
            }
    return found


def all_elements(schema: GraphQLSchema) -> dict[str, str | None]:
    types = [type for name, type in schema.type_map.items() if not name.startswith("__")]
    return {name: text for type in types for name, text in elements(type).items()}


def test_schema_graphql_is_what_the_command_prints() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "graphql_app", "schema"], capture_output=True, check=True, text=True
    ).stdout
    assert (ROOT / "schema.graphql").read_text() == printed, "run `make schema`"


def test_the_printed_schema_is_the_one_that_is_served() -> None:
    printed, served = build_schema(sdl()), schema._schema
    assert find_breaking_changes(printed, served) == find_breaking_changes(served, printed) == []


def test_nothing_of_the_contract_is_broken() -> None:
    assert find_breaking_changes(contract(), build_schema(sdl())) == []


def test_everything_is_described_as_the_contract_describes_it() -> None:
    ours = all_elements(build_schema(sdl()))
    described = {name: text for name, text in all_elements(contract()).items() if text}
    assert len(described) > 40
    assert {name: ours.get(name) for name in described} == described


def test_every_description_is_text_that_fits_on_a_page() -> None:
    assert max(map(len, sdl().splitlines())) < 140
    assert "TODO" not in sdl()
