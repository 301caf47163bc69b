"""Appending to the replies that stream."""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, select

from graphql_app.errors import FencedError
from graphql_app.stores.rules import check_repeated
from graphql_app.stores.sql.dialect import Dialect
from graphql_app.stores.sql.reading import Reading
from graphql_app.stores.sql.rows import (
    Piece,
    Place,
    end_of,
    json_of,
    same,
    slice_of,
)
from graphql_app.stores.sql.tables import leases, messages, pieces


class Appending:
    """See `Store.append`."""

    def __init__(self, dialect: Dialect, reading: Reading) -> None:
        self._reading = reading
        given = dialect.given("owner", "id", "epoch", "lease", "at_offset", "end_offset", "text")
        new = (
            select(messages.c.owner, messages.c.id, given.c.end_offset, given.c.text)
            .join(given, same(messages, given))
            .join(leases, and_(leases.c.epoch == messages.c.epoch, leases.c.id == given.c.lease))
            .where(messages.c.epoch == given.c.epoch, end_of(messages) == given.c.at_offset)
            .order_by(messages.c.owner, messages.c.id)
            .with_for_update(of=messages, key_share=True)
        )
        columns = ["owner", "message", "end_offset", "text"]
        self.growth = dialect.insert_or_ignore(pieces).from_select(columns, new)
        """Adds the pieces of `given` to the replies that stream under their leases.

        One statement, so that a process that is paused in the middle locks nobody out. A piece that
        does not begin at its reply's end, or is there already, is left out.
        """

    def why_not(
        self, connection: Connection, group: Sequence[Piece]
    ) -> dict[Piece, Exception | None]:
        """Why pieces were not added; None: the same text is there already."""
        places = {piece: Place(piece.ref, piece.at_offset) for piece in group}
        rows = self._reading.tails(connection, places.values())
        epochs = {piece.lease.epoch for piece in group}
        held = connection.execute(
            select(leases.c.epoch, leases.c.id).where(leases.c.epoch.in_(sorted(epochs)))
        )
        ids = {row.epoch: row.id for row in held}

        def why(piece: Piece, place: Place) -> Exception | None:
            row = rows.get(place)
            is_held = ids.get(piece.lease.epoch) == piece.lease.id
            if row is None or row.epoch != piece.lease.epoch or not is_held:
                return FencedError(f"reply {piece.ref.id!r} does not stream under {piece.lease}")
            there = slice_of(row, place)
            try:
                check_repeated(
                    piece.at_offset,
                    piece.text,
                    begin=there.offset,
                    there=there.text,
                    end=there.end,
                )
            except ValueError as error:
                return error
            return None

        return {piece: why(piece, place) for piece, place in places.items()}


def given_pieces(group: Sequence[Piece]) -> str:
    """The parameter of `Appending.growth`."""
    return json_of(
        [
            (
                piece.ref.owner,
                piece.ref.id,
                piece.lease.epoch,
                piece.lease.id,
                piece.at_offset,
                piece.end_offset,
                piece.text,
            )
            for piece in group
        ]
    )
