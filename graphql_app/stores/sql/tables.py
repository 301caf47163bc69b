"""The tables of the SQL stores.

    conversation ──< message ──< piece            lease ─ ─< message (while it streams)
                                                  cleared: the ids of messages that were removed

Times are whole milliseconds since 1970 and numbers of events microseconds, both by the database's
clock. `migrations/` makes these tables; a test keeps the two alike.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text

metadata = MetaData()

conversations = Table(
    "conversation",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    # The number of the last event. It follows the clock, so that a conversation that was
    # forgotten and begins anew never goes back behind a cursor.
    Column("sequence", BigInteger, nullable=False),
    # Events up to this number are gone: who has an older cursor starts over.
    Column("reset_at", BigInteger, nullable=False),
    # The number of the last event that a message gave: the most recently used come first.
    Column("used", BigInteger, nullable=False),
    Column("last_created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("conversation_used", conversations.c.owner, conversations.c.used)
# Conversations of which messages were removed since: where to look for those that are empty.
Index(
    "conversation_reset_at",
    conversations.c.reset_at,
    sqlite_where=conversations.c.reset_at > conversations.c.used,
    postgresql_where=conversations.c.reset_at > conversations.c.used,
)

messages = Table(
    "message",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("conversation", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("status", Text, nullable=False),
    # Empty while a reply streams: its text is in pieces then.
    Column("content", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("reply_to", Text),
    Column("newest_reply", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    # The lease that a reply streams under; NULL for everything that does not stream.
    Column("epoch", BigInteger),
    Column("renewals", BigInteger),
    # The numbers of the events that tell of the message's coming, and of its end. The first is
    # its place too, which all replies to a message share.
    Column("added", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("ended_at", BigInteger),
    # The number of the reset by which another reply took its place; NULL for what lists show.
    Column("replaced", BigInteger),
    # Of the draft that a reply was added by alone; NULL for one that came with its message.
    Column("token", Text),
    # What a reply took; NULL is what nobody knows.
    Column("model", Text),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("first_token_milliseconds", BigInteger),
    Column("duration_milliseconds", BigInteger),
)
Index(
    "message_added",
    messages.c.owner,
    messages.c.conversation,
    messages.c.added,
    unique=True,
    sqlite_where=messages.c.replaced.is_(None),
    postgresql_where=messages.c.replaced.is_(None),
)
Index(
    "message_replaced",
    messages.c.owner,
    messages.c.reply_to,
    messages.c.replaced,
    sqlite_where=messages.c.replaced.is_not(None),
    postgresql_where=messages.c.replaced.is_not(None),
)
Index("message_ended", messages.c.owner, messages.c.conversation, messages.c.ended)
Index(
    "message_streaming",
    messages.c.epoch,
    sqlite_where=messages.c.epoch.is_not(None),
    postgresql_where=messages.c.epoch.is_not(None),
)
Index("message_ended_at", messages.c.ended_at)

pieces = Table(
    "piece",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("message", Text, primary_key=True),
    # The offset behind the text, in UTF-16 code units. It begins where the piece before it ends.
    Column("end_offset", BigInteger, primary_key=True),
    Column("text", Text, nullable=False),
    sqlite_with_rowid=False,
)

leases = Table(
    "lease",
    metadata,
    Column(
        "epoch",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("id", Text, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    # How often somebody else ended a reply that streamed under this lease.
    Column("notices", BigInteger, nullable=False),
    sqlite_autoincrement=True,  # An epoch is never used again.
)

cleared = Table(
    "cleared",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("cleared_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("cleared_cleared_at", cleared.c.cleared_at)
