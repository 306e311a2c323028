"""The tables that engine and admin share. Migrations follow this file (a test compares them).

Conventions: ids are `engine.ids` strings; wall times are UTC milliseconds (`*_at_ms`); money is
integer minor units of the account's currency; JSON columns hold snapshots that no query looks into.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = sa.String(40)
Code = sa.String(32)
Currency = sa.String(3)

# People and what they sell ------------------------------------------------------------------------

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("email", sa.String(254), nullable=False, unique=True),  # lower-cased
    sa.Column("display_name", sa.String(80), nullable=False),
    sa.Column("password_hash", sa.String(255), nullable=False),
    # list of: member, expert, and what staff may do (admin.accounts.people.PERMISSIONS)
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("state", Code, nullable=False, server_default="active"),  # active, suspended, erased
    sa.Column("phone", sa.String(32), nullable=True),  # E.164
    sa.Column("email_verified_at_ms", sa.BigInteger, nullable=True),
    sa.Column("email_bounced_at_ms", sa.BigInteger, nullable=True),
    sa.Column("photo_file_id", Id, nullable=True),
    # Tokens issued earlier are void: set by a new password and by suspension.
    sa.Column("tokens_valid_from_ms", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("locale", sa.String(16), nullable=False, server_default="en"),
    sa.Column("timezone", sa.String(64), nullable=False, server_default="UTC"),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False, server_default="0"),
)

experts = sa.Table(
    "experts",
    metadata,
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), primary_key=True),
    sa.Column("slug", sa.String(80), nullable=False, unique=True),
    sa.Column("headline", sa.String(160), nullable=False, server_default=""),
    sa.Column("about", sa.Text, nullable=False, server_default=""),
    sa.Column("languages", sa.JSON, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true()),
    # What the expert chose; the effective status also depends on sockets and live sessions.
    sa.Column("presence_status", Code, nullable=False, server_default="undefined"),
    # What buyers compare (P6); each a text of the expert's own.
    sa.Column("education", sa.Text, nullable=False, server_default=""),
    sa.Column("experience", sa.Text, nullable=False, server_default=""),
    sa.Column("skills", sa.JSON, nullable=False, server_default="[]"),
    # 7 x 24 cells from Monday 0:00 in the user's time zone; "1": possible.
    sa.Column("availability", sa.String(168), nullable=False, server_default="0" * 168),
    sa.Column("payout_details", sa.JSON, nullable=True),
    # Aggregates of reviews and orders, recomputed with what changes them.
    sa.Column("review_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("stars_sum", sa.Integer, nullable=False, server_default="0"),
    sa.Column("refusal_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("rating_milli", sa.Integer, nullable=False, server_default="0"),  # 0: none yet
    sa.Column("completed_orders", sa.Integer, nullable=False, server_default="0"),
    sa.Column("response_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("response_sum_s", sa.BigInteger, nullable=False, server_default="0"),
)
sa.Index("ix_experts_rating", experts.c.rating_milli, experts.c.user_id)

listings = sa.Table(
    "listings",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("expert_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("kind", Code, nullable=False),  # consult, work, files
    # What is published, in the listing's first language; every language is in its revisions.
    sa.Column("title", sa.String(160), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("category", sa.String(80), nullable=False, server_default=""),  # a category's slug
    # draft, pending_review, changes_requested, rejected, published, paused, archived, taken_down
    sa.Column("state", Code, nullable=False),
    sa.Column("tariffs", sa.JSON, nullable=False),  # {mode: tariff}, see engine.metering.tariff
    # Work and files: the fixed price of the whole.
    sa.Column("price_minor", sa.BigInteger, nullable=True),
    sa.Column("currency", Currency, nullable=False, server_default="EUR"),
    sa.Column("delivery_days", sa.Integer, nullable=True),
    # The revision that customers see and buy; 0: none was published yet.
    sa.Column("published_revision", sa.Integer, nullable=False, server_default="0"),
    sa.Column("locales", sa.JSON, nullable=False, server_default='["en"]'),
    # For searching and sorting: lower-cased words in every language, the least price, the rank.
    sa.Column("search_text", sa.Text, nullable=False, server_default=""),
    sa.Column("price_from_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("rating_milli", sa.Integer, nullable=False, server_default="0"),
    sa.Column("order_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("published_at_ms", sa.BigInteger, nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint("price_minor IS NULL OR price_minor > 0", name="price_positive"),
)

_PUBLISHED = "state = 'published'"
# One for each order that customers may look at them in. On PostgreSQL migration 0004 adds
# ix_listings_words over `search_text` (admin.catalogue.search looks words up in it).
for _name, _column in (
    ("new", listings.c.created_at_ms),
    ("popular", listings.c.order_count),
    ("rating", listings.c.rating_milli),
    ("price", listings.c.price_from_minor),
):
    sa.Index(
        f"ix_listings_{_name}",
        _column,
        listings.c.id,
        sqlite_where=sa.text(_PUBLISHED),
        postgresql_where=sa.text(_PUBLISHED),
    )

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("number", sa.String(20), nullable=False, unique=True),  # shown to people
    sa.Column("customer_id", Id, sa.ForeignKey("users.id"), nullable=False),
    sa.Column("expert_id", Id, sa.ForeignKey("users.id"), nullable=False),
    sa.Column("listing_id", Id, sa.ForeignKey("listings.id"), nullable=True),
    sa.Column("title", sa.String(160), nullable=False),
    sa.Column("listing_revision", sa.Integer, nullable=True),  # what was bought
    sa.Column("proposal_id", Id, nullable=True, index=True),
    sa.Column("fulfilment", Code, nullable=False),  # live, work, files (see admin.orders.states)
    sa.Column("mode", Code, nullable=True),  # live: video, audio, text
    # Snapshots: changing settings never changes a running order.
    sa.Column("tariff", sa.JSON, nullable=True),  # live
    sa.Column("policy", sa.JSON, nullable=False),  # of its live sessions: engine.metering.policy
    sa.Column("terms", sa.JSON, nullable=False, server_default="{}"),  # admin.market.terms
    sa.Column("currency", Currency, nullable=False),
    sa.Column("prepay_minor", sa.BigInteger, nullable=False),  # held when it is confirmed
    # pending_payment, open, delivered, completed, cancelled, disputed
    sa.Column("state", Code, nullable=False),
    sa.Column("closed_reason", Code, nullable=True),
    sa.Column("disputed_from", Code, nullable=True),
    sa.Column("requirements", sa.Text, nullable=True),  # what the buyer gave the expert to know
    sa.Column("delivery_by_ms", sa.BigInteger, nullable=True),
    sa.Column("started_at_ms", sa.BigInteger, nullable=True),
    sa.Column("delivered_at_ms", sa.BigInteger, nullable=True),
    sa.Column("closed_at_ms", sa.BigInteger, nullable=True),
    sa.Column("cancel_agreed_at_ms", sa.BigInteger, nullable=True),  # by the expert
    sa.Column("rework_count", sa.Integer, nullable=False, server_default="0"),
    # When a timer acts on it: unpaid, accepted by silence, idle.
    sa.Column("due_at_ms", sa.BigInteger, nullable=True, index=True),
    # Sessions whose meter started, void ones included: the ordinal of the next is one more.
    sa.Column("metered_sessions", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    sa.CheckConstraint("prepay_minor >= 0", name="prepay_not_negative"),
    sa.CheckConstraint("customer_id <> expert_id", name="two_parties"),
)
# A page of somebody's orders, newest first, is read along one of these for each state.
sa.Index(
    "ix_orders_customer", *(orders.c[n] for n in ("customer_id", "state", "created_at_ms", "id"))
)
sa.Index("ix_orders_expert", *(orders.c[n] for n in ("expert_id", "state", "created_at_ms", "id")))

# Ledger -------------------------------------------------------------------------------------------

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", Id, primary_key=True),
    # wallet (customer), earnings (expert), fees, psp (money outside), suspense
    sa.Column("kind", Code, nullable=False),
    sa.Column("owner_id", Id, nullable=False),  # a user's id, or "platform"
    sa.Column("currency", Currency, nullable=False),
    # Folded accounts keep their balance here. The platform's are hot: they stay NULL and are summed
    # from their entries, so that no row is locked by every transaction.
    sa.Column("balance_minor", sa.BigInteger, nullable=True),
    sa.Column("held_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("owner_id", "kind", "currency"),
    sa.CheckConstraint("kind <> 'wallet' OR balance_minor >= 0", name="wallet_not_negative"),
    sa.CheckConstraint("kind <> 'wallet' OR balance_minor IS NOT NULL", name="wallet_folded"),
    sa.CheckConstraint(
        "held_minor >= 0 AND (held_minor = 0 OR held_minor <= balance_minor)", name="held_covered"
    ),
)

transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("key", sa.String(160), nullable=False, unique=True),  # idempotency
    sa.Column("request_hash", sa.String(64), nullable=False),
    sa.Column("kind", Code, nullable=False),  # topup, capture, reverse
    sa.Column("currency", Currency, nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),  # what the customer's wallet moved by
    sa.Column("fee_minor", sa.BigInteger, nullable=False, server_default="0"),  # platform's part
    # The capture that a reverse gives back, wholly or in part.
    sa.Column("reverses_id", Id, sa.ForeignKey("transfers.id"), nullable=True, index=True),
    sa.Column("order_id", Id, nullable=True, index=True),
    sa.Column("session_id", Id, nullable=True, index=True),
    sa.Column("payment_id", Id, nullable=True, index=True),
    sa.Column("reason", sa.String(200), nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
    sa.CheckConstraint("fee_minor >= 0 AND fee_minor <= amount_minor", name="fee_within"),
)

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("transfer_id", Id, sa.ForeignKey("transfers.id"), nullable=False, index=True),
    sa.Column("account_id", Id, sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),  # signed; a transfer's sum is zero
    sa.CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
)

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("key", sa.String(160), nullable=False, unique=True),
    sa.Column("request_hash", sa.String(64), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("accounts.id"), nullable=False, index=True),
    # granted, refused (final for its key), resolved (captured + released = amount)
    sa.Column("state", Code, nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("captured_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("released_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("shortfall_minor", sa.BigInteger, nullable=False, server_default="0"),  # if refused
    sa.Column("order_id", Id, nullable=True, index=True),
    sa.Column("session_id", Id, nullable=True, index=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("resolved_at_ms", sa.BigInteger, nullable=True),
    sa.CheckConstraint("amount_minor > 0", name="amount_positive"),
    sa.CheckConstraint("captured_minor >= 0 AND released_minor >= 0", name="parts_not_negative"),
    sa.CheckConstraint("captured_minor + released_minor <= amount_minor", name="parts_within"),
)

hold_moves = sa.Table(
    "hold_moves",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("hold_id", Id, sa.ForeignKey("holds.id"), nullable=False, index=True),
    sa.Column("key", sa.String(160), nullable=False),
    sa.Column("kind", Code, nullable=False),  # capture, release
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("transfer_id", Id, sa.ForeignKey("transfers.id"), nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("hold_id", "kind", "key"),
    sa.CheckConstraint("amount_minor > 0", name="amount_positive"),
)

_PENDING = "state = 'pending'"

payments = sa.Table(
    "payments",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("direction", Code, nullable=False),  # in, out
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("order_id", Id, sa.ForeignKey("orders.id"), nullable=True),  # pay it on success
    sa.Column("currency", Currency, nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("provider", Code, nullable=False),
    sa.Column("provider_ref", sa.String(120), nullable=False),
    sa.Column("checkout_url", sa.String(2_000), nullable=True),  # while it is pending
    # in: pending, succeeded, failed, expired; out: requested, approved, sent, paid, failed
    sa.Column("state", Code, nullable=False),
    sa.Column("failure", sa.String(200), nullable=True),
    sa.Column("destination", sa.JSON, nullable=True),  # out: holder and iban
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("provider", "provider_ref"),
    sa.CheckConstraint("amount_minor > 0", name="amount_positive"),
)
# Their providers are asked about those, of which there are few.
sa.Index(
    "ix_payments_pending",
    payments.c.created_at_ms,
    sqlite_where=sa.text(_PENDING),
    postgresql_where=sa.text(_PENDING),
)

# Live sessions ------------------------------------------------------------------------------------

_LIVE = "state IN ('connecting', 'in_progress') AND quarantined_at_ms IS NULL"
_QUARANTINED = "quarantined_at_ms IS NOT NULL"

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("order_id", Id, sa.ForeignKey("orders.id"), nullable=False, index=True),
    sa.Column("customer_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("expert_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("mode", Code, nullable=False),
    sa.Column("direction", Code, nullable=False),  # one_way, two_way
    sa.Column("state", Code, nullable=False),  # ringing, connecting, in_progress, ended
    sa.Column("ordinal", sa.Integer, nullable=True),  # fixed when the meter starts
    sa.Column("end_reason", Code, nullable=True),
    sa.Column("ended_by", Code, nullable=True),  # customer, expert, system, staff
    # Wall instants for records and receipts.
    sa.Column("rung_at_ms", sa.BigInteger, nullable=False),
    sa.Column("answered_at_ms", sa.BigInteger, nullable=True),
    sa.Column("started_at_ms", sa.BigInteger, nullable=True),
    sa.Column("metered_at_ms", sa.BigInteger, nullable=True),
    sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
    # Checkpointed meter: served time up to the last evidence, and what was captured so far
    # (reversals are not subtracted: the ledger has them).
    sa.Column("served_ns", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("blocks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("captured_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("fee_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("billed_seconds", sa.Integer, nullable=False, server_default="0"),
    # Who runs it; a stale epoch writes nothing.
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False, server_default="1"),
    sa.Column("checkpoint_at_ms", sa.BigInteger, nullable=False),
    # It could not be settled: nobody runs it, its money stays as it is until it is tried again.
    sa.Column("quarantined_at_ms", sa.BigInteger, nullable=True),
    sa.Column("trouble", sa.String(200), nullable=True),  # what went wrong, for staff
)
sa.Index("ix_sessions_state", sessions.c.state)
sa.Index(
    "ix_sessions_quarantined",
    sessions.c.quarantined_at_ms,
    sqlite_where=sa.text(_QUARANTINED),
    postgresql_where=sa.text(_QUARANTINED),
)
# One answered session per expert, whatever races: the store has the last word.
sa.Index(
    "uq_sessions_live_expert",
    sessions.c.expert_id,
    unique=True,
    sqlite_where=sa.text(_LIVE),
    postgresql_where=sa.text(_LIVE),
)

session_events = sa.Table(
    "session_events",
    metadata,
    sa.Column("session_id", Id, sa.ForeignKey("sessions.id"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("type", sa.String(48), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("monotonic_ns", sa.BigInteger, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
)

# Chat ---------------------------------------------------------------------------------------------

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("kind", Code, nullable=False),  # pair, request, order, case
    sa.Column("order_id", Id, sa.ForeignKey("orders.id"), nullable=True, unique=True),
    # Of the other kinds: what it is about. Two people ("usr_a:usr_b", sorted), a request and one
    # of those it went to ("req_x:usr_b"), a case.
    sa.Column("topic", sa.String(96), nullable=True, unique=True),
    sa.Column("last_seq", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_at_ms", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id"), nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),  # order within the conversation, from 1
    sa.Column("session_id", Id, sa.ForeignKey("sessions.id"), nullable=True, index=True),
    sa.Column("author_id", Id, sa.ForeignKey("users.id"), nullable=True),  # NULL: the system
    sa.Column("kind", Code, nullable=False),  # text, system, delivery
    sa.Column("body", sa.Text, nullable=False),  # as everybody may see it
    sa.Column("original_body", sa.Text, nullable=True),  # as its author does, if that differs
    sa.Column("masked", sa.JSON, nullable=False, server_default="[]"),  # engine.chat.off_platform
    sa.Column("files", sa.JSON, nullable=False, server_default="[]"),  # ids
    sa.Column("client_msg_id", sa.String(64), nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("conversation_id", "seq"),
    sa.UniqueConstraint("conversation_id", "author_id", "client_msg_id"),
)

read_marks = sa.Table(
    "read_marks",
    metadata,
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id"), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
)

recordings = sa.Table(
    "recordings",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("session_id", Id, sa.ForeignKey("sessions.id"), nullable=False, index=True),
    sa.Column("started_at_ms", sa.BigInteger, nullable=False),
    sa.Column("ended_at_ms", sa.BigInteger, nullable=True),  # NULL: it runs, or the node died
    sa.Column("end_reason", Code, nullable=True),  # stopped, incomplete, disk_full, ...
    sa.Column("files", sa.Text, nullable=False, server_default="[]"),  # JSON: name, bytes, sha256
    # From then on nobody is handed the files, and every node deletes those it has.
    sa.Column("deleted_at_ms", sa.BigInteger, nullable=True),
)

# Around ------------------------------------------------------------------------------------------

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("type", sa.String(48), nullable=False),
    sa.Column("subject_id", Id, nullable=False, index=True),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("user_id", Id, primary_key=True),
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("request_hash", sa.String(64), nullable=False),
    sa.Column("state", Code, nullable=False),  # running, done
    sa.Column("status", sa.Integer, nullable=True),
    sa.Column("answer", sa.JSON, nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

staff_sessions = sa.Table(
    "staff_sessions",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False),
    sa.Column("csrf_token", sa.String(64), nullable=False),
    sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)
