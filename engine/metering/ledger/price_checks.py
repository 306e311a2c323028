"""What ended sessions should have cost, worked out in SQL from their orders' tariffs.

One formula for both databases, in integers of 64 bits: the bounds of a tariff and of the longest
session keep every product within them, and what is out of bounds has no price, which is a
difference as well.

A session costs the blocks that it began. If the engine was why it ended it costs exactly the
service, and what was captured beyond that went back under the key of the unserved part. What staff
gave back afterwards is their decision and no matter of the tariff.

A fixed price pays its commission once, and what staff leave of it pays as if no more had been paid.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from engine.clock import NS_PER_S
from engine.metering.ledger.checking import Check, Query, count, named, summed, text
from engine.metering.ledger.model import TransferKind
from engine.metering.money import BASIS_POINTS, MAX_AMOUNT_MINOR
from engine.metering.tariff import MAX_PERIOD_SECONDS
from engine.store import tables as t

_r, _s, _o = t.transfers.c, t.sessions.c, t.orders.c

_LONGEST_NS: Final = 32 * 86_400 * NS_PER_S
"""No session is funded for longer than 30 days and a block."""


class _Whole(FunctionElement[int]):
    """A whole number of a JSON object; NULL if there is none, whatever is there instead."""

    inherit_cache = True
    name = "whole"
    type = sa.BigInteger()


def _whole(column: sa.ColumnElement[Any], name: str) -> _Whole:
    return _Whole(column, sa.literal_column(name))


def _parts(one: _Whole, compiler: SQLCompiler, options: dict[str, Any]) -> list[str]:
    return [compiler.process(clause, **options) for clause in one.clauses]


@compiles(_Whole, "sqlite")
def _of_sqlite(one: _Whole, compiler: SQLCompiler, **options: Any) -> str:
    column, name = _parts(one, compiler, options)
    whole = f"json_valid({column}) AND json_type({column}, '$.{name}') = 'integer'"
    return f"CASE WHEN {whole} THEN json_extract({column}, '$.{name}') END"


@compiles(_Whole, "postgresql")
def _of_postgresql(one: _Whole, compiler: SQLCompiler, **options: Any) -> str:
    column, name = _parts(one, compiler, options)
    value = f"CAST({column} -> '{name}' AS text)"  # a string keeps its quotes
    digits = f"substring({value} from '^-?[0-9]{{1,15}}$')"  # NULL for all else
    return f"CAST({digits} AS bigint)"


def _apart(query: sa.Select[Any]) -> sa.Subquery:
    """A subquery that the planner leaves as it is: merged into the one around it, everything that
    is mentioned there several times, such as a look into JSON, would be worked out as often.
    """
    return query.offset(0).subquery()


_FAULT: Final = sa.or_(
    _s.end_reason.in_(["server_restart", "failed"]),
    sa.and_(_s.end_reason == "terminated", _s.ended_by == "system"),
)
"""The engine was why it ended. (A metered session fails by a fault of the engine only.)"""
_ENDED: Final = _s.state == "ended"
_CHARGED: Final = sa.and_(_ENDED, _s.end_reason.is_distinct_from("void"))
_GRADED: Final = sa.and_(_ENDED, _s.metered_at_ms.is_not(None))


def _within(value: sa.ColumnElement[Any], least: int, most: int) -> sa.ColumnElement[bool]:
    return value.between(sa.literal(least, sa.BigInteger), sa.literal(most, sa.BigInteger))


def _price_of_blocks(c: Any) -> sa.ColumnElement[Any]:
    block_ns = c.block_s * NS_PER_S
    blocks = (c.served_ns + block_ns - 1) // block_ns
    due: sa.ColumnElement[Any] = c.price * blocks * c.block_s // c.per_s
    return due


def _price_of_service(c: Any) -> sa.ColumnElement[Any]:
    """``price * ns / (per_s * 10**9)``, rounded down once: a product of both would not fit, so the
    part below a second is multiplied in two steps. Rounding down within a quotient that is rounded
    down changes nothing.
    """
    rest_ns = c.served_ns % NS_PER_S
    high, low = rest_ns // 100_000, rest_ns % 100_000
    of_rest = (c.price * high + c.price * low // 100_000) // 10_000
    due: sa.ColumnElement[Any] = (c.price * (c.served_ns // NS_PER_S) + of_rest) // c.per_s
    return due


def _fee_of(due: sa.ColumnElement[Any], bps: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """``due * bps / 10000``, rounded down, without a product that does not fit."""
    return due // BASIS_POINTS * bps + due % BASIS_POINTS * bps // BASIS_POINTS


def _paid() -> sa.Subquery:
    """Of each session what it did cost: captures less the unserved part of a block."""
    unserved = sa.literal("session:") + _r.session_id + ":unserved"
    back = sa.and_(_r.kind == TransferKind.REVERSE.value, _r.key == unserved)
    sign = sa.case((_r.kind == TransferKind.CAPTURE.value, 1), (back, -1), else_=0)
    return (
        sa.select(_r.session_id)
        .add_columns(summed(_r.amount_minor * sign).label("amount"))
        .add_columns(summed(_r.fee_minor * sign).label("fee"))
        .group_by(_r.session_id)
        .subquery()
    )


def _terms() -> sa.Subquery:
    """Each session that was not void, with what its order says and what was paid.

    Joined here, not around what is kept apart: only tables are looked up by an index on SQLite.
    """
    paid = _paid()
    return _apart(
        sa.select(_s.id, _s.served_ns, _FAULT.label("fault"))
        .add_columns(
            _whole(_o.tariff, "price_minor").label("price"),
            _whole(_o.tariff, "per_seconds").label("per_s"),
            _whole(_o.tariff, "block_seconds").label("block_s"),
            _whole(_o.policy, "commission_bps").label("bps"),
            sa.func.coalesce(paid.c.amount, 0).label("amount"),
            sa.func.coalesce(paid.c.fee, 0).label("fee"),
        )
        .select_from(
            t.sessions.outerjoin(t.orders, _o.id == _s.order_id).outerjoin(
                paid, paid.c.session_id == _s.id
            )
        )
        .where(_CHARGED)
    )


def _due(c: Any) -> sa.ColumnElement[Any]:
    """What it should have cost; NULL if there is no saying."""
    sensible = sa.and_(
        _within(c.served_ns, 1, _LONGEST_NS),
        _within(c.price, 1, MAX_AMOUNT_MINOR),
        _within(c.per_s, 1, MAX_PERIOD_SECONDS),
        _within(c.block_s, 1, MAX_PERIOD_SECONDS),
        _within(c.bps, 0, BASIS_POINTS),
    )
    return sa.case(
        (c.served_ns == 0, 0),
        (sa.not_(sensible), sa.null()),
        (c.fault, _price_of_service(c)),
        else_=_price_of_blocks(c),
    )


def _sessions_cost_what_they_should() -> Query:
    terms = _terms().c
    priced = _apart(
        sa.select(terms.id, terms.bps, terms.amount, terms.fee, _due(terms).label("due"))
    )
    c = priced.c
    part = sa.case((c.due == 0, 0), else_=_fee_of(c.due, c.bps))
    wrong = sa.or_(c.amount.is_distinct_from(c.due), c.fee.is_distinct_from(part))
    return named(c.id, _said(c.due, part), _said(c.amount, c.fee), wrong)


def _said(amount: sa.ColumnElement[Any], fee: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    return text(amount) + " with a fee of " + text(fee)


def _grace_is_kept() -> Query:
    """Void is exactly a session among the order's first that ended within its grace."""
    terms = _apart(
        sa.select(_s.id, _s.end_reason, _s.ordinal, _s.served_ns)
        .add_columns(
            _whole(_o.tariff, "grace_seconds").label("grace_s"),
            sa.func.coalesce(_whole(_o.tariff, "grace_sessions"), 1).label("free"),
        )
        .select_from(t.sessions.outerjoin(t.orders, _o.id == _s.order_id))
        .where(sa.or_(_GRADED, _s.end_reason == "void"))
    )
    c = terms.c
    # By the second, so that no grace, however wrong, is too large a product.
    served_s = (c.served_ns + NS_PER_S - 1) // NS_PER_S
    free = sa.and_(c.grace_s > 0, c.ordinal <= c.free, served_s <= c.grace_s)
    expected = sa.case((free, "void"), else_="not void")
    found = sa.case((c.end_reason == "void", "void"), else_="not void")
    served = " after " + text(c.served_ns) + " ns"
    return named(c.id, expected, found + served, expected != found).select_from(terms)


_FIXED: Final = sa.and_(_r.kind == TransferKind.CAPTURE.value, _r.session_id.is_(None))


def _fixed_prices_pay_their_fee() -> Query:
    back = t.transfers.alias()
    given = (
        sa.select(back.c.reverses_id)
        .add_columns(summed(back.c.amount_minor).label("amount"))
        .add_columns(summed(back.c.fee_minor).label("fee"))
        .where(back.c.reverses_id.is_not(None))
        .group_by(back.c.reverses_id)
        .subquery()
    )
    # PostgreSQL's sums of integers are none, and division would not round.
    left = sa.cast(_r.amount_minor - sa.func.coalesce(given.c.amount, 0), sa.BigInteger)
    kept = _apart(
        sa.select(_r.id, _whole(_o.terms, "commission_bps").label("bps"), left.label("amount"))
        .add_columns((_r.fee_minor - sa.func.coalesce(given.c.fee, 0)).label("fee"))
        .select_from(
            t.transfers.outerjoin(t.orders, _o.id == _r.order_id).outerjoin(
                given, given.c.reverses_id == _r.id
            )
        )
        .where(_FIXED)
    )
    c = kept.c
    part = sa.case((_within(c.bps, 0, BASIS_POINTS), _fee_of(c.amount, c.bps)))
    wrong = c.fee.is_distinct_from(part)
    return named(c.id, _said(c.amount, part), _said(c.amount, c.fee), wrong)


PRICES: Final = (
    Check(
        "sessions_cost_what_they_should",
        "an ended session cost what its tariff says for the time served, and the fee is its part",
        count(t.sessions, _CHARGED),
        _sessions_cost_what_they_should(),
    ),
    Check(
        "grace_is_kept",
        "void is exactly a session among the order's first that ended within its grace",
        count(t.sessions, _GRADED),
        _grace_is_kept(),
    ),
    Check(
        "fixed_prices_pay_their_fee",
        "what is left of a fixed price pays the commission that its order's terms say",
        count(t.transfers, _FIXED),
        _fixed_prices_pay_their_fee(),
    ),
)
