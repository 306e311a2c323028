"""The marketplace's tables, beside `engine.store.tables` and by its conventions.

The engine itself needs none of them; they share its metadata so that one chain of migrations and
one transaction cover both.
"""

from __future__ import annotations

import sqlalchemy as sa

from engine.store.tables import Code, Currency, Id, metadata

__all__ = ["metadata"]

# People -------------------------------------------------------------------------------------------

consents = sa.Table(
    "consents",
    metadata,
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), primary_key=True),
    sa.Column("document", Code, primary_key=True),  # terms, privacy, refunds, explicit_consent
    sa.Column("version", sa.String(32), primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)

account_tokens = sa.Table(
    "account_tokens",
    metadata,
    # The store keeps only the hash: a copy of it opens nothing.
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("purpose", Code, nullable=False),  # verify_email, reset_password, refresh
    # Refresh tokens that come from one sign-in: using an old one ends them all.
    sa.Column("family", Id, nullable=True, index=True),
    sa.Column("used_at_ms", sa.BigInteger, nullable=True),
    sa.Column("expires_at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), primary_key=True),
    sa.Column("kind", Code, primary_key=True),  # favourite, block
    sa.Column("subject_type", Code, primary_key=True),  # expert, listing, user
    sa.Column("subject_id", Id, primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)

# Catalogue ----------------------------------------------------------------------------------------

categories = sa.Table(
    "categories",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("parent_id", Id, sa.ForeignKey("categories.id"), nullable=True, index=True),
    sa.Column("slug", sa.String(80), nullable=False, unique=True),
    sa.Column("names", sa.JSON, nullable=False),  # {locale: name}
    sa.Column("featured", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("position", sa.Integer, nullable=False, server_default="0"),
)

expert_categories = sa.Table(
    "expert_categories",
    metadata,
    sa.Column("expert_id", Id, sa.ForeignKey("experts.user_id"), primary_key=True),
    sa.Column("category_id", Id, sa.ForeignKey("categories.id"), primary_key=True, index=True),
)

files = sa.Table(
    "files",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("owner_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("purpose", Code, nullable=False),  # photo, image, goods, attachment
    sa.Column("name", sa.String(160), nullable=False),  # as uploaded, made safe
    sa.Column("type", sa.String(80), nullable=False),  # by content, never by what was claimed
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("state", Code, nullable=False),  # ready, deleted
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.CheckConstraint("size_bytes >= 0", name="size_not_negative"),
)

file_uses = sa.Table(
    "file_uses",
    metadata,
    sa.Column("file_id", Id, sa.ForeignKey("files.id"), primary_key=True),
    # conversation, request, case: its parties may open an attachment; listing, user
    sa.Column("subject_type", Code, primary_key=True),
    sa.Column("subject_id", Id, primary_key=True),
)

listing_revisions = sa.Table(
    "listing_revisions",
    metadata,
    sa.Column("listing_id", Id, sa.ForeignKey("listings.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    # draft, pending_review, published, changes_requested, rejected, superseded
    sa.Column("state", Code, nullable=False),
    # admin.catalogue.content: titles and descriptions by locale, category, images, files, links
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("decided_at_ms", sa.BigInteger, nullable=True),
)

# Negotiation --------------------------------------------------------------------------------------

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("customer_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("listing_id", Id, sa.ForeignKey("listings.id"), nullable=True),
    sa.Column("category", sa.String(80), nullable=False, server_default=""),
    sa.Column("title", sa.String(160), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("files", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("wanted", sa.JSON, nullable=False, server_default="{}"),  # budget, delivery_by
    sa.Column("state", Code, nullable=False),  # untriaged, open, awarded, expired, cancelled
    sa.Column("deadline_ms", sa.BigInteger, nullable=False),
    sa.Column("due_at_ms", sa.BigInteger, nullable=True, index=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
)

proposals = sa.Table(
    "proposals",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("request_id", Id, sa.ForeignKey("requests.id"), nullable=False, index=True),
    sa.Column("customer_id", Id, sa.ForeignKey("users.id"), nullable=False),
    sa.Column("expert_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("invited_by", Code, nullable=False),  # customer, random, expert
    # invited, declined, pending, accepted, lost, withdrawn, expired, superseded
    sa.Column("state", Code, nullable=False),
    sa.Column("by", Code, nullable=True),  # customer, expert: who made the offer that is pending
    sa.Column("price_minor", sa.BigInteger, nullable=True),
    sa.Column("currency", Currency, nullable=False),
    sa.Column("delivery_days", sa.Integer, nullable=True),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("reason", sa.String(400), nullable=True),  # of a decline
    sa.Column("valid_until_ms", sa.BigInteger, nullable=True),
    sa.Column("previous_id", Id, sa.ForeignKey("proposals.id"), nullable=True),
    sa.Column("due_at_ms", sa.BigInteger, nullable=True, index=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    sa.CheckConstraint("price_minor IS NULL OR price_minor > 0", name="price_positive"),
    sa.CheckConstraint("customer_id <> expert_id", name="two_parties"),
)
_LIVE_OFFER = "state IN ('invited', 'pending')"
# One live offer of an expert to a request, whatever races.
sa.Index(
    "uq_proposals_live",
    proposals.c.request_id,
    proposals.c.expert_id,
    unique=True,
    sqlite_where=sa.text(_LIVE_OFFER),
    postgresql_where=sa.text(_LIVE_OFFER),
)

# What people must decide --------------------------------------------------------------------------

cases = sa.Table(
    "cases",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("number", sa.String(20), nullable=False, unique=True),
    # listing, application, triage, dispute, report, support, payout, payment
    sa.Column("kind", Code, nullable=False),
    sa.Column("subject_type", Code, nullable=False),  # listing, order, user, payment, message, ...
    sa.Column("subject_id", Id, nullable=False, index=True),
    sa.Column("opened_by", Id, sa.ForeignKey("users.id"), nullable=True, index=True),
    sa.Column(
        "state", Code, nullable=False
    ),  # open, in_progress, info_requested, decided, withdrawn
    sa.Column("stage", sa.Integer, nullable=False, server_default="0"),
    sa.Column("title", sa.String(160), nullable=False),
    sa.Column("body", sa.Text, nullable=False, server_default=""),
    sa.Column("files", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("data", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("due_at_ms", sa.BigInteger, nullable=True),
    sa.Column("overdue_at_ms", sa.BigInteger, nullable=True),
    sa.Column("assignee_id", Id, sa.ForeignKey("users.id"), nullable=True),
    sa.Column("decision", Code, nullable=True),
    sa.Column("reason", sa.Text, nullable=True),
    sa.Column("decided_by", Id, sa.ForeignKey("users.id"), nullable=True),
    sa.Column("decided_at_ms", sa.BigInteger, nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
)
sa.Index("ix_cases_queue", cases.c.state, cases.c.kind, cases.c.due_at_ms)
_OPEN_DISPUTE = "kind = 'dispute' AND state IN ('open', 'in_progress', 'info_requested')"
# One open dispute per order.
sa.Index(
    "uq_cases_open_dispute",
    cases.c.subject_id,
    unique=True,
    sqlite_where=sa.text(_OPEN_DISPUTE),
    postgresql_where=sa.text(_OPEN_DISPUTE),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("order_id", Id, sa.ForeignKey("orders.id"), nullable=False, unique=True),
    sa.Column("customer_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("expert_id", Id, sa.ForeignKey("users.id"), nullable=False),
    sa.Column("listing_id", Id, sa.ForeignKey("listings.id"), nullable=True),
    sa.Column("rating_service", sa.Integer, nullable=False),
    sa.Column("rating_expert", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False, server_default=""),
    sa.Column("reply", sa.Text, nullable=True),
    sa.Column("state", Code, nullable=False),  # published, hidden
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    sa.CheckConstraint("rating_service BETWEEN 1 AND 5", name="service_stars"),
    sa.CheckConstraint("rating_expert BETWEEN 1 AND 5", name="expert_stars"),
)
sa.Index("ix_reviews_expert", reviews.c.expert_id, reviews.c.created_at_ms)
sa.Index("ix_reviews_listing", reviews.c.listing_id, reviews.c.created_at_ms)

# Telling people -----------------------------------------------------------------------------------

conversation_members = sa.Table(
    "conversation_members",
    metadata,
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id"), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), primary_key=True, index=True),
)

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False),
    sa.Column("type", sa.String(48), nullable=False),
    sa.Column("subject_type", Code, nullable=False),
    sa.Column("subject_id", Id, nullable=False, index=True),
    sa.Column("data", sa.JSON, nullable=False),
    # {channel: state}, channels inapp, email, sms; states scheduled, sent, failed, skipped
    sa.Column("channels", sa.JSON, nullable=False),
    sa.Column("dedupe_key", sa.String(160), nullable=True, unique=True),
    sa.Column("send_at_ms", sa.BigInteger, nullable=False),  # in the future: a reminder
    # While something is left to be delivered; NULL once nothing is.
    sa.Column("due_at_ms", sa.BigInteger, nullable=True, index=True),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("read_at_ms", sa.BigInteger, nullable=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)
sa.Index("ix_notifications_user", notifications.c.user_id, notifications.c.send_at_ms)

notification_preferences = sa.Table(
    "notification_preferences",
    metadata,
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), primary_key=True),
    sa.Column("muted", sa.JSON, nullable=False),  # list of "type:channel"
)

# What an operator decides -------------------------------------------------------------------------

settings_versions = sa.Table(
    "settings_versions",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("data", sa.JSON, nullable=False),  # admin.market.terms.MarketSettings
    sa.Column("changed_by", Id, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)
