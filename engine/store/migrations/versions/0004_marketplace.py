"""marketplace: accounts, catalogue, negotiation, cases, reviews and notices around the engine"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


_SORTED = (
    ("new", "created_at_ms"),
    ("popular", "order_count"),
    ("rating", "rating_milli"),
    ("price", "price_from_minor"),
)


def upgrade() -> None:
    op.create_table(
        "categories",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("parent_id", sa.String(length=40), nullable=True),
        sa.Column("slug", sa.String(length=80), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("featured", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["categories.id"], name=op.f("fk_categories_parent_id_categories")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_categories")),
        sa.UniqueConstraint("slug", name=op.f("uq_categories_slug")),
    )
    with op.batch_alter_table("categories") as batch_op:
        batch_op.create_index(batch_op.f("ix_categories_parent_id"), ["parent_id"], unique=False)

    op.create_table(
        "settings_versions",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("changed_by", sa.String(length=40), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_settings_versions")),
    )
    op.create_table(
        "account_tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("family", sa.String(length=40), nullable=True),
        sa.Column("used_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_account_tokens_user_id_users")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_account_tokens")),
    )
    with op.batch_alter_table("account_tokens") as batch_op:
        batch_op.create_index(
            batch_op.f("ix_account_tokens_expires_at_ms"), ["expires_at_ms"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_account_tokens_family"), ["family"], unique=False)
        batch_op.create_index(batch_op.f("ix_account_tokens_user_id"), ["user_id"], unique=False)

    op.create_table(
        "cases",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject_type", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("opened_by", sa.String(length=40), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("stage", sa.Integer(), server_default="0", nullable=False),
        sa.Column("title", sa.String(length=160), nullable=False),
        sa.Column("body", sa.Text(), server_default="", nullable=False),
        sa.Column("files", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("data", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("overdue_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("assignee_id", sa.String(length=40), nullable=True),
        sa.Column("decision", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.String(length=40), nullable=True),
        sa.Column("decided_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["assignee_id"], ["users.id"], name=op.f("fk_cases_assignee_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["decided_by"], ["users.id"], name=op.f("fk_cases_decided_by_users")
        ),
        sa.ForeignKeyConstraint(["opened_by"], ["users.id"], name=op.f("fk_cases_opened_by_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
        sa.UniqueConstraint("number", name=op.f("uq_cases_number")),
    )
    with op.batch_alter_table("cases") as batch_op:
        batch_op.create_index(batch_op.f("ix_cases_opened_by"), ["opened_by"], unique=False)
        batch_op.create_index("ix_cases_queue", ["state", "kind", "due_at_ms"], unique=False)
        batch_op.create_index(batch_op.f("ix_cases_subject_id"), ["subject_id"], unique=False)
        batch_op.create_index(
            "uq_cases_open_dispute",
            ["subject_id"],
            unique=True,
            sqlite_where=sa.text(
                "kind = 'dispute' AND state IN ('open', 'in_progress', 'info_requested')"
            ),
            postgresql_where=sa.text(
                "kind = 'dispute' AND state IN ('open', 'in_progress', 'info_requested')"
            ),
        )

    op.create_table(
        "consents",
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("document", sa.String(length=32), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_consents_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "document", "version", name=op.f("pk_consents")),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner_id", sa.String(length=40), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("type", sa.String(length=80), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_files_size_not_negative")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_files_owner_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    with op.batch_alter_table("files") as batch_op:
        batch_op.create_index(batch_op.f("ix_files_owner_id"), ["owner_id"], unique=False)

    op.create_table(
        "file_uses",
        sa.Column("file_id", sa.String(length=40), nullable=False),
        sa.Column("subject_type", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_file_uses_file_id_files")),
        sa.PrimaryKeyConstraint(
            "file_id", "subject_type", "subject_id", name=op.f("pk_file_uses")
        ),
    )
    op.create_table(
        "marks",
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject_type", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_marks_user_id_users")),
        sa.PrimaryKeyConstraint(
            "user_id", "kind", "subject_type", "subject_id", name=op.f("pk_marks")
        ),
    )
    op.create_table(
        "notification_preferences",
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("muted", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_notification_preferences_user_id_users")
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_notification_preferences")),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("type", sa.String(length=48), nullable=False),
        sa.Column("subject_type", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("dedupe_key", sa.String(length=160), nullable=True),
        sa.Column("send_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("read_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_notifications_user_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_notifications_dedupe_key")),
    )
    with op.batch_alter_table("notifications") as batch_op:
        batch_op.create_index(batch_op.f("ix_notifications_due_at_ms"), ["due_at_ms"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_notifications_subject_id"), ["subject_id"], unique=False
        )
        batch_op.create_index("ix_notifications_user", ["user_id", "send_at_ms"], unique=False)

    op.create_table(
        "expert_categories",
        sa.Column("expert_id", sa.String(length=40), nullable=False),
        sa.Column("category_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["category_id"],
            ["categories.id"],
            name=op.f("fk_expert_categories_category_id_categories"),
        ),
        sa.ForeignKeyConstraint(
            ["expert_id"], ["experts.user_id"], name=op.f("fk_expert_categories_expert_id_experts")
        ),
        sa.PrimaryKeyConstraint("expert_id", "category_id", name=op.f("pk_expert_categories")),
    )
    with op.batch_alter_table("expert_categories") as batch_op:
        batch_op.create_index(
            batch_op.f("ix_expert_categories_category_id"), ["category_id"], unique=False
        )

    op.create_table(
        "listing_revisions",
        sa.Column("listing_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_at_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["listing_id"], ["listings.id"], name=op.f("fk_listing_revisions_listing_id_listings")
        ),
        sa.PrimaryKeyConstraint("listing_id", "number", name=op.f("pk_listing_revisions")),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("listing_id", sa.String(length=40), nullable=True),
        sa.Column("category", sa.String(length=80), server_default="", nullable=False),
        sa.Column("title", sa.String(length=160), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("files", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("wanted", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("deadline_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["users.id"], name=op.f("fk_requests_customer_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["listing_id"], ["listings.id"], name=op.f("fk_requests_listing_id_listings")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    with op.batch_alter_table("requests") as batch_op:
        batch_op.create_index(batch_op.f("ix_requests_customer_id"), ["customer_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_requests_due_at_ms"), ["due_at_ms"], unique=False)

    op.create_table(
        "proposals",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("request_id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("expert_id", sa.String(length=40), nullable=False),
        sa.Column("invited_by", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=32), nullable=True),
        sa.Column("price_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("delivery_days", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=True),
        sa.Column("valid_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("previous_id", sa.String(length=40), nullable=True),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("customer_id <> expert_id", name=op.f("ck_proposals_two_parties")),
        sa.CheckConstraint(
            "price_minor IS NULL OR price_minor > 0", name=op.f("ck_proposals_price_positive")
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["users.id"], name=op.f("fk_proposals_customer_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["expert_id"], ["users.id"], name=op.f("fk_proposals_expert_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["previous_id"], ["proposals.id"], name=op.f("fk_proposals_previous_id_proposals")
        ),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.id"], name=op.f("fk_proposals_request_id_requests")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
    )
    with op.batch_alter_table("proposals") as batch_op:
        batch_op.create_index(batch_op.f("ix_proposals_due_at_ms"), ["due_at_ms"], unique=False)
        batch_op.create_index(batch_op.f("ix_proposals_expert_id"), ["expert_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_proposals_request_id"), ["request_id"], unique=False)
        batch_op.create_index(
            "uq_proposals_live",
            ["request_id", "expert_id"],
            unique=True,
            sqlite_where=sa.text("state IN ('invited', 'pending')"),
            postgresql_where=sa.text("state IN ('invited', 'pending')"),
        )

    op.create_table(
        "reviews",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("order_id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("expert_id", sa.String(length=40), nullable=False),
        sa.Column("listing_id", sa.String(length=40), nullable=True),
        sa.Column("rating_service", sa.Integer(), nullable=False),
        sa.Column("rating_expert", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("rating_expert BETWEEN 1 AND 5", name=op.f("ck_reviews_expert_stars")),
        sa.CheckConstraint("rating_service BETWEEN 1 AND 5", name=op.f("ck_reviews_service_stars")),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["users.id"], name=op.f("fk_reviews_customer_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["expert_id"], ["users.id"], name=op.f("fk_reviews_expert_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["listing_id"], ["listings.id"], name=op.f("fk_reviews_listing_id_listings")
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("fk_reviews_order_id_orders")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
        sa.UniqueConstraint("order_id", name=op.f("uq_reviews_order_id")),
    )
    with op.batch_alter_table("reviews") as batch_op:
        batch_op.create_index(batch_op.f("ix_reviews_customer_id"), ["customer_id"], unique=False)
        batch_op.create_index("ix_reviews_expert", ["expert_id", "created_at_ms"], unique=False)
        batch_op.create_index(
            "ix_reviews_listing", ["listing_id", "created_at_ms"], unique=False
        )

    op.create_table(
        "conversation_members",
        sa.Column("conversation_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_conversation_members_conversation_id_conversations"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_conversation_members_user_id_users")
        ),
        sa.PrimaryKeyConstraint("conversation_id", "user_id", name=op.f("pk_conversation_members")),
    )
    with op.batch_alter_table("conversation_members") as batch_op:
        batch_op.create_index(
            batch_op.f("ix_conversation_members_user_id"), ["user_id"], unique=False
        )

    with op.batch_alter_table("conversations") as batch_op:
        batch_op.add_column(sa.Column("topic", sa.String(length=96), nullable=True))
        batch_op.add_column(
            sa.Column("last_at_ms", sa.BigInteger(), server_default="0", nullable=False)
        )
        batch_op.create_unique_constraint(batch_op.f("uq_conversations_topic"), ["topic"])

    with op.batch_alter_table("experts") as batch_op:
        batch_op.add_column(sa.Column("education", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("experience", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("skills", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(
            sa.Column(
                "availability", sa.String(length=168), server_default="0" * 168, nullable=False
            )
        )
        batch_op.add_column(sa.Column("payout_details", sa.JSON(), nullable=True))
        batch_op.add_column(
            sa.Column("review_count", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("stars_sum", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("refusal_count", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("rating_milli", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("completed_orders", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("response_count", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("response_sum_s", sa.BigInteger(), server_default="0", nullable=False)
        )

    with op.batch_alter_table("listings") as batch_op:
        batch_op.add_column(sa.Column("price_minor", sa.BigInteger(), nullable=True))
        batch_op.add_column(
            sa.Column("currency", sa.String(length=3), server_default="EUR", nullable=False)
        )
        batch_op.add_column(sa.Column("delivery_days", sa.Integer(), nullable=True))
        batch_op.add_column(
            sa.Column("published_revision", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("locales", sa.JSON(), server_default='["en"]', nullable=False)
        )
        batch_op.add_column(sa.Column("search_text", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(
            sa.Column("price_from_minor", sa.BigInteger(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("rating_milli", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("order_count", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(sa.Column("published_at_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(
            sa.Column("updated_at_ms", sa.BigInteger(), server_default="0", nullable=False)
        )
        batch_op.create_check_constraint("price_positive", "price_minor IS NULL OR price_minor > 0")
        for name, column in _SORTED:
            batch_op.create_index(
                f"ix_listings_{name}",
                [column, "id"],
                unique=False,
                sqlite_where=sa.text("state = 'published'"),
                postgresql_where=sa.text("state = 'published'"),
            )

    with op.batch_alter_table("messages") as batch_op:
        batch_op.add_column(sa.Column("original_body", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("masked", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("files", sa.JSON(), server_default="[]", nullable=False))

    with op.batch_alter_table("orders") as batch_op:
        batch_op.add_column(sa.Column("listing_revision", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("proposal_id", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("terms", sa.JSON(), server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("disputed_from", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("requirements", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("delivery_by_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("started_at_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("delivered_at_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("closed_at_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("cancel_agreed_at_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(
            sa.Column("rework_count", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(sa.Column("due_at_ms", sa.BigInteger(), nullable=True))
        batch_op.alter_column("mode", existing_type=sa.VARCHAR(length=32), nullable=True)
        batch_op.alter_column("tariff", existing_type=sa.JSON(), nullable=True)
        batch_op.create_index(batch_op.f("ix_orders_due_at_ms"), ["due_at_ms"], unique=False)
        batch_op.create_index(batch_op.f("ix_orders_proposal_id"), ["proposal_id"], unique=False)
        batch_op.drop_index(batch_op.f("ix_orders_customer_id"))
        batch_op.drop_index(batch_op.f("ix_orders_expert_id"))
        for party in ("customer", "expert"):
            columns = [f"{party}_id", "state", "created_at_ms", "id"]
            batch_op.create_index(f"ix_orders_{party}", columns, unique=False)

    with op.batch_alter_table("payments") as batch_op:
        batch_op.add_column(sa.Column("failure", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("destination", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("checkout_url", sa.String(length=2000), nullable=True))

    with op.batch_alter_table("users") as batch_op:
        batch_op.add_column(sa.Column("phone", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("email_verified_at_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("email_bounced_at_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("photo_file_id", sa.String(length=40), nullable=True))
        batch_op.add_column(
            sa.Column("tokens_valid_from_ms", sa.BigInteger(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("updated_at_ms", sa.BigInteger(), server_default="0", nullable=False)
        )

    op.create_index("ix_transfers_payment_id", "transfers", ["payment_id"])
    with op.batch_alter_table("experts") as batch_op:
        batch_op.create_index("ix_experts_rating", ["rating_milli", "user_id"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        # Whole words and their beginnings; see admin.catalogue.search.
        op.execute(
            "CREATE INDEX ix_listings_words ON listings USING gin "
            "(array_to_tsvector(string_to_array(search_text, ' '))) WHERE state = 'published'"
        )
    _carry_over()


def _carry_over() -> None:
    """Give listings, orders and conversations of before what the new columns and tables say."""
    connection = op.get_bind()
    listings = sa.table(
        "listings",
        *(sa.column(name) for name in ("id", "title", "description", "category", "created_at_ms")),
        sa.column("tariffs", sa.JSON),
        *(sa.column(n) for n in ("price_from_minor", "published_revision", "state")),
        *(sa.column(n) for n in ("updated_at_ms", "published_at_ms", "currency")),
    )
    revisions = sa.table(
        "listing_revisions",
        *(sa.column(n) for n in ("listing_id", "number", "state", "created_at_ms")),
        sa.column("content", sa.JSON),
    )
    for row in connection.execute(sa.select(listings)).all():
        tariffs = list(row.tariffs.values())
        published = row.state in ("published", "paused")
        connection.execute(
            sa.update(listings)
            .where(listings.c.id == row.id)
            .values(
                currency=tariffs[0]["currency"] if tariffs else "EUR",
                price_from_minor=min((t["price_minor"] for t in tariffs), default=0),
                published_revision=1 if published else 0,
                updated_at_ms=row.created_at_ms,
                published_at_ms=row.created_at_ms if published else None,
            )
        )
        content = {
            "locales": ["en"],
            "title": {"en": row.title},
            "description": {"en": row.description},
            "category": row.category,
        }
        connection.execute(
            sa.insert(revisions).values(
                listing_id=row.id,
                number=1,
                state="published" if published else "draft",
                content=content,
                created_at_ms=row.created_at_ms,
            )
        )
    for party in ("customer_id", "expert_id"):
        op.execute(
            f"INSERT INTO conversation_members (conversation_id, user_id) SELECT c.id, o.{party} "
            "FROM conversations c JOIN orders o ON o.id = c.order_id"
        )
    op.execute("UPDATE users SET email_verified_at_ms = created_at_ms")


def downgrade() -> None:
    op.drop_index("ix_transfers_payment_id", "transfers")
    # Fails, and changes nothing, while there are orders that only the marketplace knows.
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX ix_listings_words")
    with op.batch_alter_table("experts") as batch_op:
        batch_op.drop_index("ix_experts_rating")
    with op.batch_alter_table("listings") as batch_op:
        for name, _ in _SORTED:
            batch_op.drop_index(f"ix_listings_{name}")
    with op.batch_alter_table("users") as batch_op:
        batch_op.drop_column("updated_at_ms")
        batch_op.drop_column("tokens_valid_from_ms")
        batch_op.drop_column("photo_file_id")
        batch_op.drop_column("email_bounced_at_ms")
        batch_op.drop_column("email_verified_at_ms")
        batch_op.drop_column("phone")

    with op.batch_alter_table("payments") as batch_op:
        batch_op.drop_column("checkout_url")
        batch_op.drop_column("destination")
        batch_op.drop_column("failure")

    with op.batch_alter_table("orders") as batch_op:
        for party in ("customer", "expert"):
            batch_op.drop_index(f"ix_orders_{party}")
            batch_op.create_index(
                batch_op.f(f"ix_orders_{party}_id"), [f"{party}_id"], unique=False
            )
        batch_op.drop_index(batch_op.f("ix_orders_proposal_id"))
        batch_op.drop_index(batch_op.f("ix_orders_due_at_ms"))
        batch_op.alter_column("tariff", existing_type=sa.JSON(), nullable=False)
        batch_op.alter_column("mode", existing_type=sa.VARCHAR(length=32), nullable=False)
        batch_op.drop_column("due_at_ms")
        batch_op.drop_column("rework_count")
        batch_op.drop_column("cancel_agreed_at_ms")
        batch_op.drop_column("closed_at_ms")
        batch_op.drop_column("delivered_at_ms")
        batch_op.drop_column("started_at_ms")
        batch_op.drop_column("delivery_by_ms")
        batch_op.drop_column("requirements")
        batch_op.drop_column("disputed_from")
        batch_op.drop_column("terms")
        batch_op.drop_column("proposal_id")
        batch_op.drop_column("listing_revision")

    with op.batch_alter_table("messages") as batch_op:
        batch_op.drop_column("files")
        batch_op.drop_column("masked")
        batch_op.drop_column("original_body")

    with op.batch_alter_table("listings") as batch_op:
        batch_op.drop_constraint("price_positive", type_="check")
        batch_op.drop_column("updated_at_ms")
        batch_op.drop_column("published_at_ms")
        batch_op.drop_column("order_count")
        batch_op.drop_column("rating_milli")
        batch_op.drop_column("price_from_minor")
        batch_op.drop_column("search_text")
        batch_op.drop_column("locales")
        batch_op.drop_column("published_revision")
        batch_op.drop_column("delivery_days")
        batch_op.drop_column("currency")
        batch_op.drop_column("price_minor")

    with op.batch_alter_table("experts") as batch_op:
        batch_op.drop_column("response_sum_s")
        batch_op.drop_column("response_count")
        batch_op.drop_column("completed_orders")
        batch_op.drop_column("rating_milli")
        batch_op.drop_column("refusal_count")
        batch_op.drop_column("stars_sum")
        batch_op.drop_column("review_count")
        batch_op.drop_column("payout_details")
        batch_op.drop_column("availability")
        batch_op.drop_column("skills")
        batch_op.drop_column("experience")
        batch_op.drop_column("education")

    with op.batch_alter_table("conversations") as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_conversations_topic"), type_="unique")
        batch_op.drop_column("last_at_ms")
        batch_op.drop_column("topic")

    with op.batch_alter_table("conversation_members") as batch_op:
        batch_op.drop_index(batch_op.f("ix_conversation_members_user_id"))

    op.drop_table("conversation_members")
    with op.batch_alter_table("reviews") as batch_op:
        batch_op.drop_index("ix_reviews_listing")
        batch_op.drop_index("ix_reviews_expert")
        batch_op.drop_index(batch_op.f("ix_reviews_customer_id"))

    op.drop_table("reviews")
    with op.batch_alter_table("proposals") as batch_op:
        batch_op.drop_index(
            "uq_proposals_live",
            sqlite_where=sa.text("state IN ('invited', 'pending')"),
            postgresql_where=sa.text("state IN ('invited', 'pending')"),
        )
        batch_op.drop_index(batch_op.f("ix_proposals_request_id"))
        batch_op.drop_index(batch_op.f("ix_proposals_expert_id"))
        batch_op.drop_index(batch_op.f("ix_proposals_due_at_ms"))

    op.drop_table("proposals")
    with op.batch_alter_table("requests") as batch_op:
        batch_op.drop_index(batch_op.f("ix_requests_due_at_ms"))
        batch_op.drop_index(batch_op.f("ix_requests_customer_id"))

    op.drop_table("requests")
    op.drop_table("listing_revisions")
    with op.batch_alter_table("expert_categories") as batch_op:
        batch_op.drop_index(batch_op.f("ix_expert_categories_category_id"))

    op.drop_table("expert_categories")
    with op.batch_alter_table("notifications") as batch_op:
        batch_op.drop_index("ix_notifications_user")
        batch_op.drop_index(batch_op.f("ix_notifications_subject_id"))
        batch_op.drop_index(batch_op.f("ix_notifications_due_at_ms"))

    op.drop_table("notifications")
    op.drop_table("notification_preferences")
    op.drop_table("marks")
    op.drop_table("file_uses")
    with op.batch_alter_table("files") as batch_op:
        batch_op.drop_index(batch_op.f("ix_files_owner_id"))

    op.drop_table("files")
    op.drop_table("consents")
    with op.batch_alter_table("cases") as batch_op:
        batch_op.drop_index(
            "uq_cases_open_dispute",
            sqlite_where=sa.text(
                "kind = 'dispute' AND state IN ('open', 'in_progress', 'info_requested')"
            ),
            postgresql_where=sa.text(
                "kind = 'dispute' AND state IN ('open', 'in_progress', 'info_requested')"
            ),
        )
        batch_op.drop_index(batch_op.f("ix_cases_subject_id"))
        batch_op.drop_index("ix_cases_queue")
        batch_op.drop_index(batch_op.f("ix_cases_opened_by"))

    op.drop_table("cases")
    with op.batch_alter_table("account_tokens") as batch_op:
        batch_op.drop_index(batch_op.f("ix_account_tokens_user_id"))
        batch_op.drop_index(batch_op.f("ix_account_tokens_family"))
        batch_op.drop_index(batch_op.f("ix_account_tokens_expires_at_ms"))

    op.drop_table("account_tokens")
    op.drop_table("settings_versions")
    with op.batch_alter_table("categories") as batch_op:
        batch_op.drop_index(batch_op.f("ix_categories_parent_id"))

    op.drop_table("categories")
