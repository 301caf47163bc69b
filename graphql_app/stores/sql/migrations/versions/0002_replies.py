"""Several replies to one message. Each that is there is the newest to its message, and stays so."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("message", sa.Column("replaced", sa.BigInteger))
    op.add_column("message", sa.Column("token", sa.Text))
    op.drop_index("message_added", "message")
    op.create_index(
        "message_added",
        "message",
        ["owner", "conversation", "added"],
        unique=True,
        sqlite_where=sa.text("replaced IS NULL"),
        postgresql_where=sa.text("replaced IS NULL"),
    )
    op.create_index(
        "message_replaced",
        "message",
        ["owner", "reply_to", "replaced"],
        sqlite_where=sa.text("replaced IS NOT NULL"),
        postgresql_where=sa.text("replaced IS NOT NULL"),
    )


def downgrade() -> None:
    """Leaves only the newest reply to each message."""
    op.execute("DELETE FROM message WHERE replaced IS NOT NULL")
    op.drop_index("message_replaced", "message")
    op.drop_index("message_added", "message")
    op.drop_column("message", "token")
    op.drop_column("message", "replaced")
    op.create_index("message_added", "message", ["owner", "conversation", "added"], unique=True)
