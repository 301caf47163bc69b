"""The versions of the SQL stores' tables. `upgrade` brings a database to the newest."""

from importlib.resources import files

from sqlalchemy import Connection, inspect, select
from sqlalchemy.sql import column, table

from graphql_app.errors import ConfigurationError

NEWEST = "0003"
"""The newest version; a test keeps it true."""

version = table("alembic_version", column("version_num"))


def version_of(connection: Connection) -> str | None:
    """The version of a database's tables; None: it has none."""
    if not inspect(connection).has_table(version.name):
        return None
    return connection.scalar(select(version.c.version_num))


def upgrade(connection: Connection) -> None:
    """Brings a database to the newest version, inside the caller's transaction.

    The caller sees to it that no other process does so at the same time.

    Raises:
        ConfigurationError: the database was made by a newer program.
    """
    before = version_of(connection)
    if before == NEWEST:
        return
    # Alembic takes a while to import, and most starts have nothing to do.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(files(__name__)))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if before is not None and before not in known:
        raise ConfigurationError(
            f"store: the database is at version {before}, which this program does not know (its "
            f"newest is {NEWEST}); use the program that made it, or a newer one."
        )
    command.upgrade(config, "head")
