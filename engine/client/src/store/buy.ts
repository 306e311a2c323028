import { asTalktimeError } from "../client/errors";
import { openDialog } from "../page/dialog";
import { h, setText } from "../page/dom";
import { formatMoney } from "../page/format";
import { errorText, toast } from "../page/notices";
import type { Tariff } from "../page/rest";
import { t } from "../page/strings";
import { topUpDialog } from "../page/views/top-up";
import { busyWhile, button, fact, priceText } from "../page/widgets";
import { field, money, textarea } from "./parts";
import type { Listing, Order, OrderDetail } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

/** The explicit confirmation (T42): what is paid or put on hold, and the top-up by what is missing (T40). */
export async function buyDialog(store: Store, listing: Listing, tariff: Tariff | null): Promise<void> {
  await store.refreshWallet();
  const { currency } = store.market;
  const needed = tariff?.prepay_minor ?? listing.price?.amount ?? 0;
  const missing = needed - (store.wallet.value?.available.amount ?? 0);
  const needs = textarea("", { testid: "requirements", maxlength: 8_000 });
  const failure = h("p", { class: "form-error", role: "alert", testid: "order-error" });
  const label = missing > 0 ? w.buy.topUp(formatMoney(missing, currency)) : w.buy.confirm;
  const confirm = button(label, { kind: "primary", testid: "order-confirm" });
  const hint = w.buy.hints[listing.kind];
  const dialog = openDialog(
    w.buy.title,
    "order-dialog",
    summary(store, listing, tariff, needed),
    listing.kind === "work" ? field(w.listing.needs, needs, listing.requirements || w.optional) : null,
    h("p", { class: "muted small" }, hint),
    failure,
    h(
      "footer",
      { class: "dialog-actions" },
      button(t.cancel, { kind: "quiet", action: () => dialog.close() }),
      confirm,
    ),
  );
  confirm.addEventListener("click", () =>
    busyWhile(confirm, async () => {
      try {
        const order = await store.api.placeOrder(
          listing.id,
          tariff?.mode ?? null,
          needs.value.trim() || null,
        );
        dialog.close();
        location.hash = `#/order/${order.id}`;
        toast((await pay(store, order)) ? w.buy.done : w.buy.unpaid);
      } catch (error) {
        setText(failure, errorText(error));
      }
    }),
  );
  await dialog.closed;
}

function summary(store: Store, listing: Listing, tariff: Tariff | null, needed: number): HTMLElement {
  const available = store.wallet.value?.available.amount ?? 0;
  const { currency } = store.market;
  const price = tariff ? priceText(tariff) : listing.price ? money(listing.price) : "";
  return h(
    "div",
    { class: "order-summary" },
    h("p", { class: "order-title", dir: "auto" }, listing.title),
    h(
      "dl",
      { class: "facts" },
      fact(w.orders.expert, listing.expert.display_name),
      fact(tariff ? w.modes[tariff.mode] : w.buy.price, price),
      fact(w.buy.hold, formatMoney(needed, currency), { class: "strong", testid: "order-hold" }),
      fact(w.buy.balance, formatMoney(available, currency)),
      needed > available
        ? fact(w.buy.missing, formatMoney(needed - available, currency), { class: "strong warn" })
        : h("div", { hidden: true }),
    ),
  );
}

/** Pays; what is missing is topped up, exactly. False: the customer gave up, the order waits. */
export async function pay(store: Store, order: Pick<Order, "id" | "price">): Promise<boolean> {
  try {
    await store.api.act(order.id, "pay");
    return true;
  } catch (error) {
    const refusal = asTalktimeError(error);
    if (refusal.details.status !== 402) throw error;
    const neededMinor = refusal.shortfallMinor ?? order.price.amount;
    if (!(await topUpDialog(store, { neededMinor, orderId: order.id }))) return false;
  }
  const now: OrderDetail = await store.api.orderDetail(order.id);
  if (now.state === "pending_payment") await store.api.act(order.id, "pay");
  return true;
}
