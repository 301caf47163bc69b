"""What a reply took. Nobody knows it of those that are there."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("message", sa.Column("model", sa.Text))
    op.add_column("message", sa.Column("input_tokens", sa.BigInteger))
    op.add_column("message", sa.Column("output_tokens", sa.BigInteger))
    op.add_column("message", sa.Column("first_token_milliseconds", sa.BigInteger))
    op.add_column("message", sa.Column("duration_milliseconds", sa.BigInteger))


def downgrade() -> None:
    op.drop_column("message", "duration_milliseconds")
    op.drop_column("message", "first_token_milliseconds")
    op.drop_column("message", "output_tokens")
    op.drop_column("message", "input_tokens")
    op.drop_column("message", "model")
