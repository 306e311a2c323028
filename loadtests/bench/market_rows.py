"""A marketplace of some years in PostgreSQL, written by the server itself: rows that the queries of
storefronts and cabinets meet, with the sizes and skews that they have, in which the audit finds
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

WORDS: Final = (
    *("contract", "lease", "tax", "visa", "divorce", "startup", "python", "design", "logo"),
    *("translation", "essay", "maths", "physics", "guitar", "piano", "yoga", "nutrition"),
    *("sleep", "career", "interview", "salary", "mortgage", "garden", "roof", "wiring"),
)
BIG: Final = (
    *("users", "listings", "orders", "sessions", "holds", "transfers", "entries", "payments"),
    "conversations",
)
"""Tables that no query may read from end to end."""


@dataclass(frozen=True)
class Sizes:
    customers: int = 50_000
    experts: int = 5_000
    listings: int = 100_000
    orders: int = 1_000_000

    @property
    def transfers(self) -> int:
        """One capture per order and as many top-ups as make five entries an order together."""
        return 2 * self.orders


async def fill(url: str, sizes: Sizes) -> None:
    """Write the rows and let the server learn about them."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            for statement in _statements(sizes):
                await connection.execute(statement)
        for table in BIG:
            await connection.execute(f"VACUUM (ANALYZE) {table}")
    finally:
        await connection.close()


def _statements(sizes: Sizes) -> list[str]:
    return [
        *_people(sizes),
        _listings(sizes),
        *_orders(sizes),
        *_money(sizes),
    ]


_AT: Final = "1700000000000 + n::bigint * 60000"
_TARIFF: Final = (
    '{"currency": "EUR", "price_minor": 1200, "per_seconds": 900, "block_seconds": 900,'
    ' "prepaid_seconds": 900, "grace_seconds": 60, "grace_sessions": 1, "clock_message": 2}'
)
_SERVED_S: Final = 600


def _people(sizes: Sizes) -> list[str]:
    def users(kind: str, roles: str, count: int) -> str:
        return f"""
            INSERT INTO users (id, email, display_name, password_hash, roles, email_verified_at_ms,
                               created_at_ms)
            SELECT 'usr_{kind}' || n, '{kind}' || n || '@bench.test', '{kind.title()} ' || n, '-',
                   '{roles}', 1, {_AT} FROM generate_series(1, {count}) n"""

    return [
        users("customer", '["member"]', sizes.customers),
        users("expert", '["member", "expert"]', sizes.experts),
        f"""
            INSERT INTO experts (user_id, slug, headline, about, languages, active, rating_milli)
            SELECT 'usr_expert' || n, 'expert-' || n, 'Expert number ' || n, 'About', '["en"]',
                   true, 1000 + n % 4001 FROM generate_series(1, {sizes.experts}) n""",
        """
            INSERT INTO categories (id, slug, names, position)
            SELECT 'cat_b' || n, 'bench-' || n, '{"en": "Bench"}', n FROM generate_series(1, 20) n
        """,
    ]


def _listings(sizes: Sizes) -> str:
    words = "ARRAY[" + ", ".join(f"'{word}'" for word in WORDS) + "]"
    word = f"({words})[1 + (n * {{}} + n / 7) % {len(WORDS)}]"
    title = f"{word.format(3)} || ' and ' || {word.format(11)} || ' no. ' || n"
    return f"""
        INSERT INTO listings (id, expert_id, kind, title, description, category, state, tariffs,
                              price_minor, currency, delivery_days, published_revision,
                              search_text, price_from_minor, rating_milli, order_count,
                              published_at_ms, created_at_ms, updated_at_ms)
        SELECT 'lst_' || n, 'usr_expert' || (1 + n % {sizes.experts}),
               (ARRAY['consult', 'work', 'files'])[1 + n % 3],
               {title}, 'All about ' || {title}, 'bench-' || (1 + n % 20),
               CASE WHEN n % 50 = 0 THEN 'paused' ELSE 'published' END,
               (CASE WHEN n % 3 = 0 THEN '{{"video": {_TARIFF}}}' ELSE '{{}}' END)::json,
               CASE WHEN n % 3 = 0 THEN NULL ELSE 500 + n % 20000 END, 'EUR', 7, 1,
               lower({title} || ' all about'), 500 + n % 20000, 1000 + n % 4001, n % 300,
               {_AT}, {_AT}, {_AT}
        FROM generate_series(1, {sizes.listings}) n"""


def _orders(sizes: Sizes) -> list[str]:
    # Some customers and experts have a hundred times as many orders as others.
    customer = f"'usr_customer' || (1 + (n::bigint * n) % {sizes.customers})"
    return [
        f"""
        INSERT INTO orders (id, number, customer_id, expert_id, listing_id, listing_revision, title,
                            fulfilment, mode, tariff, policy, terms, currency, prepay_minor, state,
                            metered_sessions, closed_reason, created_at_ms, updated_at_ms,
                            closed_at_ms)
        SELECT 'ord_' || n, 'TT-' || n, {customer},
               l.expert_id, l.id, 1, l.title,
               CASE l.kind WHEN 'consult' THEN 'live' ELSE l.kind END,
               CASE l.kind WHEN 'consult' THEN 'video' END,
               CASE l.kind WHEN 'consult' THEN '{_TARIFF}'::json END,
               '{{"commission_bps": 2000}}', '{{"commission_bps": 2000}}', 'EUR', 1200,
               CASE WHEN n % 40 = 0 THEN 'open' ELSE 'completed' END,
               CASE l.kind WHEN 'consult' THEN 1 ELSE 0 END,
               CASE WHEN n % 40 = 0 THEN NULL ELSE 'closed' END,
               {_AT}, {_AT}, CASE WHEN n % 40 = 0 THEN NULL ELSE {_AT} END
        FROM generate_series(1, {sizes.orders}) n
        JOIN listings l ON l.id = 'lst_' || (1 + (n * 7) % {sizes.listings})""",
        f"""
        INSERT INTO sessions (id, order_id, customer_id, expert_id, mode, direction, state, ordinal,
                              end_reason, ended_by, rung_at_ms, answered_at_ms, started_at_ms,
                              metered_at_ms, ended_at_ms, served_ns, blocks, captured_minor,
                              fee_minor, billed_seconds, owner, checkpoint_at_ms)
        SELECT 'ses_' || id, id, customer_id, expert_id, mode, 'two_way', 'ended', 1, 'completed',
               'customer', created_at_ms, created_at_ms, created_at_ms, created_at_ms,
               created_at_ms + {_SERVED_S} * 1000, {_SERVED_S} * bigint '1000000000', 1, 1200, 240,
               900, 'bench', created_at_ms
        FROM orders WHERE fulfilment = 'live'""",
        """
        INSERT INTO conversations (id, kind, order_id, last_seq, last_at_ms, created_at_ms)
        SELECT 'con_' || id, 'order', id, 0, created_at_ms, created_at_ms FROM orders""",
        """
        INSERT INTO conversation_members (conversation_id, user_id)
        SELECT 'con_' || id, customer_id FROM orders
        UNION ALL SELECT 'con_' || id, expert_id FROM orders""",
    ]


def _money(sizes: Sizes) -> list[str]:
    topup = sizes.transfers - sizes.orders
    return [
        f"""
        INSERT INTO accounts (id, kind, owner_id, currency, balance_minor, created_at_ms)
        SELECT 'acc_w' || n, 'wallet', 'usr_customer' || n, 'EUR', 0, 1
        FROM generate_series(1, {sizes.customers}) n
        UNION ALL SELECT 'acc_e' || n, 'earnings', 'usr_expert' || n, 'EUR', 0, 1
        FROM generate_series(1, {sizes.experts}) n
        UNION ALL SELECT 'acc_fees', 'fees', 'platform', 'EUR', NULL, 1
        UNION ALL SELECT 'acc_psp', 'psp', 'platform', 'EUR', NULL, 1""",
        f"""
        INSERT INTO payments (id, direction, user_id, currency, amount_minor, provider,
                              provider_ref, state, created_at_ms, updated_at_ms)
        SELECT 'pay_' || n, 'in', 'usr_customer' || (1 + n % {sizes.customers}), 'EUR', 2000000,
               'sandbox', n::text, 'succeeded', {_AT}, {_AT}
        FROM generate_series(1, {topup}) n""",
        f"""
        INSERT INTO transfers (id, key, request_hash, kind, currency, amount_minor, payment_id,
                               created_at_ms)
        SELECT 'tr_t' || n, 't' || n, '', 'topup', 'EUR', 2000000, 'pay_' || n, {_AT}
        FROM generate_series(1, {topup}) n""",
        """
        INSERT INTO transfers (id, key, request_hash, kind, currency, amount_minor, fee_minor,
                               order_id, session_id, created_at_ms)
        SELECT 'tr_' || o.id, 'c' || o.id, '', 'capture', 'EUR', 1200, 240, o.id, s.id,
               o.created_at_ms
        FROM orders o LEFT JOIN sessions s ON s.order_id = o.id""",
        f"""
        INSERT INTO entries (transfer_id, account_id, amount_minor)
        SELECT 'tr_t' || n, 'acc_w' || (1 + n % {sizes.customers}), 2000000
        FROM generate_series(1, {topup}) n
        UNION ALL SELECT 'tr_t' || n, 'acc_psp', -2000000 FROM generate_series(1, {topup}) n""",
        """
        INSERT INTO entries (transfer_id, account_id, amount_minor)
        SELECT 'tr_' || o.id, a.id, -1200 FROM orders o
        JOIN accounts a ON a.owner_id = o.customer_id AND a.kind = 'wallet'
        UNION ALL SELECT 'tr_' || o.id, a.id, 960 FROM orders o
        JOIN accounts a ON a.owner_id = o.expert_id AND a.kind = 'earnings'
        UNION ALL SELECT 'tr_' || o.id, 'acc_fees', 240 FROM orders o""",
        """
        INSERT INTO holds (id, key, request_hash, account_id, state, amount_minor, captured_minor,
                           order_id, created_at_ms, resolved_at_ms)
        SELECT 'hld_' || o.id, 'h' || o.id, '', a.id, 'resolved', 1200, 1200, o.id,
               o.created_at_ms, o.created_at_ms
        FROM orders o JOIN accounts a ON a.owner_id = o.customer_id AND a.kind = 'wallet'""",
        """
        INSERT INTO hold_moves (hold_id, key, kind, amount_minor, transfer_id, created_at_ms)
        SELECT 'hld_' || id, 'c', 'capture', 1200, 'tr_' || id, created_at_ms FROM orders""",
        """
        UPDATE accounts SET balance_minor = total FROM
        (SELECT account_id, sum(amount_minor) total FROM entries GROUP BY account_id) sums
        WHERE account_id = id AND kind IN ('wallet', 'earnings')""",
    ]
