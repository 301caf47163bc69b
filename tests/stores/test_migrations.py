"""The versions of the SQL stores' tables."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.ext.asyncio import create_async_engine

from graphql_app.errors import ConfigurationError, MessageIdConflictError
from graphql_app.messages import Status, Usage
from graphql_app.stores import open_store
from graphql_app.stores.sql import migrations
from graphql_app.stores.sql.store import SqlStore
from graphql_app.stores.sql.tables import metadata
from tests.contracts.scene import Scene, shown
from tests.processes import refusing
from tests.stores.databases import KINDS, NewDatabase, databases

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=KINDS)
def new_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NewDatabase]:
    with databases(request.param, tmp_path_factory.mktemp(request.param)) as new_database:
        yield new_database


@pytest.fixture
def url(new_database: NewDatabase) -> str:
    """Where an empty database is."""
    return new_database()


def on(url: str, step: Callable[[Connection], object]) -> None:
    """Runs a step as one transaction."""
    if url.startswith("sqlite"):
        engine = create_engine(url)
        with engine.begin() as connection:
            step(connection)
        engine.dispose()
        return

    async def run() -> None:
        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.begin() as connection:
            await connection.run_sync(step)
        await engine.dispose()

    asyncio.run(run())


def config_for(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def test_the_newest_version_is_known_by_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.NEWEST]


def test_migrating_makes_the_tables_that_the_stores_use(url: str) -> None:
    def check(connection: Connection) -> None:
        assert migrations.version_of(connection) is None
        migrations.upgrade(connection)
        assert migrations.version_of(connection) == migrations.NEWEST
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
        made = inspect(connection)
        for table in metadata.sorted_tables:
            # What is not compared there.
            key = made.get_pk_constraint(table.name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key]
            columns = {column["name"]: column for column in made.get_columns(table.name)}
            for column in table.columns:
                assert columns[column.name]["nullable"] == column.nullable
            indexes = {index["name"]: index for index in made.get_indexes(table.name)}
            for index in table.indexes:
                assert indexes[index.name]["column_names"] == [each.name for each in index.columns]
                assert bool(indexes[index.name]["unique"]) == index.unique

    on(url, check)


def test_the_tables_are_the_same_statement_by_statement(tmp_path: Path) -> None:
    made, meant = f"sqlite:///{tmp_path}/made.db", f"sqlite:///{tmp_path}/meant.db"
    found: list[set[str]] = []

    def statements(connection: Connection) -> None:
        rows = connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE tbl_name NOT IN ('alembic_version', "
            "'sqlite_sequence') AND sql IS NOT NULL"
        )
        found.append({" ".join(row.sql.split()) for row in rows})

    on(made, migrations.upgrade)
    on(made, statements)
    on(meant, metadata.create_all)
    on(meant, statements)
    assert found[0] == found[1]


def test_migrating_again_changes_nothing(url: str) -> None:
    on(url, migrations.upgrade)
    on(url, migrations.upgrade)
    store = open_store(url)
    assert isinstance(store, SqlStore)
    for _ in range(2):
        said = asyncio.run(store.migrate())
        assert said.endswith(f" is at version {migrations.NEWEST}.")


def test_a_downgrade_leaves_nothing_behind(url: str) -> None:
    on(url, migrations.upgrade)
    on(url, lambda connection: command.downgrade(config_for(connection), "base"))

    def check(connection: Connection) -> None:
        assert tables(connection) - {"alembic_version", "sqlite_sequence"} == set()
        assert migrations.version_of(connection) is None

    on(url, check)
    on(url, migrations.upgrade)


def test_old_replies_are_the_newest_to_their_messages_and_may_be_replaced(url: str) -> None:
    def old(connection: Connection) -> None:
        command.upgrade(config_for(connection), "0001")
        connection.exec_driver_sql("INSERT INTO conversation VALUES ('owner', 'c1', 9, 0, 9, 4, 4)")
        for statement in (
            "'m1', 'c1', 'USER', 'DONE', 'Hello', 1, NULL, 'r-m1', NULL, NULL, 1, NULL, NULL",
            "'r-m1', 'c1', 'ASSISTANT', 'DONE', 'One', 2, 'm1', NULL, NULL, NULL, 2, 8, 4",
            "'m2', 'c1', 'USER', 'DONE', 'Hello', 3, NULL, 'r-m2', NULL, NULL, 3, NULL, NULL",
            "'r-m2', 'c1', 'ASSISTANT', 'DONE', 'Two', 4, 'm2', NULL, NULL, NULL, 4, 9, 4",
        ):
            connection.exec_driver_sql(
                "INSERT INTO message (owner, id, conversation, role, status, content, created_at, "
                "reply_to, newest_reply, epoch, renewals, added, ended, ended_at) "
                f"VALUES ('owner', {statement})"
            )

    async def use() -> None:
        store = open_store(url)
        await store.open()
        scene = Scene(store, "owner", await store.register(60))
        assert await scene.ids() == ["m1", "r-m1", "m2", "r-m2"]
        assert await scene.replies("m1") == ["r-m1"]
        assert shown(await scene.events(4)) == [
            ("r-m1", Status.DONE, "One"),
            ("r-m2", Status.DONE, "Two"),
        ]
        with pytest.raises(MessageIdConflictError, match="the first reply to this message"):
            await scene.add_reply("r-m1", "m1")
        assert (await scene.add_reply("n1", "m1")).created
        assert await scene.ids() == ["m1", "n1", "m2", "r-m2"]
        assert await scene.replies("m1") == ["r-m1", "n1"]
        assert (await scene.message("n1")).created_at == (await scene.message("r-m1")).created_at
        await scene.finish("n1")
        assert (await scene.message("r-m2")).usage is None
        usage = Usage(model="model-1", duration=1.5)
        assert (await scene.learn("r-m2", usage)).usage == usage
        await store.close()

    def check(connection: Connection) -> None:
        rows = connection.exec_driver_sql("SELECT id FROM message ORDER BY added")
        assert [row.id for row in rows] == ["m1", "n1", "m2", "r-m2"]

    on(url, old)
    asyncio.run(use())
    on(url, lambda connection: command.downgrade(config_for(connection), "0001"))
    on(url, check)


def test_a_version_that_is_unknown_is_refused(url: str) -> None:
    on(url, migrations.upgrade)

    def check(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(ConfigurationError) as refused:
            migrations.upgrade(connection)
        assert str(refused.value) == (
            "store: the database is at version 9999, which this program does not know (its "
            f"newest is {migrations.NEWEST}); use the program that made it, or a newer one."
        )

    on(url, check)


def test_a_migration_that_fails_changes_nothing(url: str) -> None:
    def in_the_way(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE cleared (id INTEGER)")

    on(url, in_the_way)
    store = open_store(url)

    async def fail() -> None:
        with pytest.raises(ConfigurationError, match="cleared"):
            await store.open()
        await store.close()

    asyncio.run(fail())

    def check(connection: Connection) -> None:
        assert tables(connection) - {"alembic_version"} == {"cleared"}
        assert migrations.version_of(connection) is None

    on(url, check)


def test_a_store_works_on_a_database_that_was_migrated_by_command(url: str) -> None:
    done = refusing("--store", url, command="migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{url} is at version {migrations.NEWEST}.\n"

    async def use() -> None:
        store = open_store(url)
        await store.open()
        assert (await Scene(store, "owner", await store.register(60)).add("m1")).created
        await store.close()

    asyncio.run(use())


MIGRATE = """
import asyncio, sys
from graphql_app.stores import open_store

store = open_store(sys.argv[1])
sys.stdin.readline()
print(asyncio.run(store.migrate()))
"""


def test_many_processes_may_migrate_at_once(url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        for _ in range(6)
    ]
    time.sleep(2)  # Until all of them wait for the word.
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60) for process in processes]
    assert said == [(f"{url} is at version {migrations.NEWEST}.\n", "")] * 6
