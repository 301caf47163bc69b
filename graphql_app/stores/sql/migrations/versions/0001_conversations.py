"""Conversations, messages and their pieces, leases, and the ids of what was cleared."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "conversation",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("reset_at", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("last_created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("conversation_used", "conversation", ["owner", "used"])
    op.create_index(
        "conversation_reset_at",
        "conversation",
        ["reset_at"],
        sqlite_where=sa.text("reset_at > used"),
        postgresql_where=sa.text("reset_at > used"),
    )
    op.create_table(
        "message",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("reply_to", sa.Text),
        sa.Column("newest_reply", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("epoch", sa.BigInteger),
        sa.Column("renewals", sa.BigInteger),
        sa.Column("added", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_index("message_added", "message", ["owner", "conversation", "added"], unique=True)
    op.create_index("message_ended", "message", ["owner", "conversation", "ended"])
    op.create_index(
        "message_streaming",
        "message",
        ["epoch"],
        sqlite_where=sa.text("epoch IS NOT NULL"),
        postgresql_where=sa.text("epoch IS NOT NULL"),
    )
    op.create_index("message_ended_at", "message", ["ended_at"])
    op.create_table(
        "piece",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("message", sa.Text, primary_key=True),
        sa.Column("end_offset", sa.BigInteger, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lease",
        sa.Column(
            "epoch",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("milliseconds", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("notices", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "cleared",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("cleared_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("cleared_cleared_at", "cleared", ["cleared_at"])


def downgrade() -> None:
    for name in ("cleared", "lease", "piece", "message", "conversation"):
        op.drop_table(name)
