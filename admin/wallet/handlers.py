"""GET /wallet, GET /wallet/transactions, POST and GET /wallet/top-ups."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from admin import schemas
from admin.accounts.signin import source_address
from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.http.cursors import CursorText, Limit
from admin.payments import service
from admin.payments.provider import Payer
from admin.wallet import statement


class StatementQuery(Struct):
    """`account`: the entries of that account alone, which sum to its balance; without it both, and
    what orders set aside and gave back between them."""

    account: Literal["wallet", "earnings"] | None = None
    cursor: CursorText | None = None
    limit: Limit = 20


async def get_wallet(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await statement.wallet(call.deps, tx, call.user.id))


async def list_wallet_transactions(call: Call[Nothing, StatementQuery]) -> Answer:
    after = cursors.decode(call.query.cursor)
    async with call.deps.store.reading() as tx:
        page = await statement.transactions(
            tx, call.user.id, after, call.query.limit, account=call.query.account
        )
    return Answer(200, page)


async def create_top_up(call: Call[schemas.CreateTopUp, Nothing]) -> Answer:
    body, user = call.body, call.user
    address = source_address(call.request, call.deps.settings)
    payer = Payer(user.id, user.display_name, user.email, address)
    return await service.create(call.deps, call.claim, payer, body.amount_minor, body.order_id)


async def get_top_up(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await service.one(call.deps, tx, call.user.id, call.id))


ROUTES = (
    Route(
        method="GET",
        path="/wallet",
        handler=get_wallet,
        summary="What is available, on hold and earned",
        tag="Wallet",
        answer=schemas.Wallet,
    ),
    Route(
        method="GET",
        path="/wallet/transactions",
        handler=list_wallet_transactions,
        summary="What moved the user's money, newest first",
        tag="Wallet",
        query=StatementQuery,
        answer=schemas.WalletTransactionPage,
    ),
    Route(
        method="POST",
        path="/wallet/top-ups",
        handler=create_top_up,
        summary="Ask for a top-up; the answer says where to pay",
        tag="Wallet",
        body=schemas.CreateTopUp,
        answer=schemas.TopUp,
        status=201,
        idempotent=True,
        refusals=(404, 503),
    ),
    Route(
        method="GET",
        path=f"/wallet/top-ups/{ID}",
        handler=get_top_up,
        summary="One top-up and whether it was paid",
        tag="Wallet",
        answer=schemas.TopUp,
        refusals=(404,),
    ),
)
