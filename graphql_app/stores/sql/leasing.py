"""Leases: who may write, and whose time is over."""

import uuid
from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select, update

from graphql_app.interfaces import Lease
from graphql_app.messages import Ref
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.rows import is_lease
from graphql_app.stores.sql.steps import News
from graphql_app.stores.sql.tables import leases, messages


class Leasing:
    """Each method is a step."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    @property
    def _now(self) -> ColumnElement[int]:
        """In milliseconds."""
        return self._dialect.now // 1_000

    @property
    def _is_over(self) -> ColumnElement[bool]:
        return leases.c.expires_at < self._now

    def register(self, connection: Connection, lease_seconds: float) -> Lease:
        id, milliseconds = uuid.uuid4().hex, round(lease_seconds * 1_000)
        statement = insert(leases).values(
            id=id,
            milliseconds=milliseconds,
            expires_at=self._now + milliseconds,
            notices=0,
        )
        return Lease(id, connection.execute(statement.returning(leases.c.epoch)).scalar_one())

    def extend(self, connection: Connection, lease: Lease) -> bool:
        """Returns whether there is such a lease."""
        statement = (
            update(leases)
            .where(*is_lease(lease))
            .values(expires_at=self._now + leases.c.milliseconds)
        )
        return connection.execute(statement).rowcount == 1

    def streaming(self, connection: Connection, lease: Lease) -> dict[Ref, int]:
        """The replies that stream under a lease, and how often it had been renewed before each."""
        statement = select(messages.c.owner, messages.c.id, messages.c.renewals)
        rows = connection.execute(statement.where(messages.c.epoch == lease.epoch))
        return {Ref(row.owner, row.id): row.renewals for row in rows}

    def any_is_over(self, connection: Connection) -> bool:
        return bool(connection.scalar(select(exists().where(self._is_over))))

    def end(self, connection: Connection) -> None:
        """Ends the leases that ran out, but for those that somebody else is just writing."""
        over = select(leases.c.epoch).where(self._is_over).with_for_update(skip_locked=True)
        connection.execute(delete(leases).where(leases.c.epoch.in_(over)))

    def orphans(self, connection: Connection, most: int) -> dict[Ref, int]:
        """Replies that stream under leases that have ended, and the epochs of those."""
        statement = (
            select(messages.c.owner, messages.c.id, messages.c.epoch)
            .join(leases, leases.c.epoch == messages.c.epoch, isouter=True)
            .where(messages.c.epoch.is_not(None), leases.c.epoch.is_(None))
            .limit(most)
        )
        return {Ref(row.owner, row.id): row.epoch for row in connection.execute(statement)}


def notify_holders(connection: Connection, news: News, epochs: Iterable[int | None]) -> None:
    """Tells processes that some of their replies were ended or removed by somebody else."""
    for epoch in sorted({epoch for epoch in epochs if epoch is not None}):
        id = connection.scalar(
            update(leases)
            .where(leases.c.epoch == epoch)
            .values(notices=leases.c.notices + 1)
            .returning(leases.c.id)
        )
        if id is not None:
            news.of(Lease(id, epoch))
