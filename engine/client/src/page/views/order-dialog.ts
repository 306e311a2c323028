import { asTalktimeError, type TalktimeError } from "../../client/errors";
import type { App } from "../app";
import { openDialog } from "../dialog";
import { h, setText } from "../dom";
import { formatDuration, formatMoney } from "../format";
import { errorText, toast } from "../notices";
import type { Listing, Tariff } from "../rest";
import { t } from "../strings";
import { busyWhile, button, fact, priceText } from "../widgets";
import { topUpDialog } from "./top-up";

/** The explicit confirmation (T42): what is put on hold, and the top-up by what is missing (T40). */
export async function orderDialog(app: App, listing: Listing, tariff: Tariff): Promise<void> {
  await app.refreshWallet();
  const missing = tariff.prepay_minor - (app.wallet.value?.available.amount ?? 0);
  const failure = h("p", { class: "form-error", role: "alert", testid: "order-error" });
  const confirm = confirmButton(tariff, missing);
  const dialog = openDialog(
    t.order.title,
    "order-dialog",
    summary(app, listing, tariff, missing),
    h("p", { class: "muted small" }, t.order.holdHint(formatDuration(tariff.prepaid_seconds))),
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
        if (await placeOrder(app, listing, tariff)) finish(app, dialog.close);
      } catch (error) {
        setText(failure, errorText(error));
      }
    }),
  );
  await dialog.closed;
}

function confirmButton(tariff: Tariff, missing: number): HTMLButtonElement {
  const short = missing > 0;
  const label = short ? t.order.topUpAndOrder(formatMoney(missing, tariff.currency)) : t.order.confirm;
  return button(label, {
    kind: "primary",
    testid: "order-confirm",
    "data-short": short || null,
    "data-autofocus": true,
  });
}

function summary(app: App, listing: Listing, tariff: Tariff, missing: number): HTMLElement {
  const money = (minor: number) => formatMoney(minor, tariff.currency);
  return h(
    "div",
    { class: "order-summary" },
    h("p", { class: "order-title" }, listing.title),
    h(
      "dl",
      { class: "facts" },
      fact(t.order.expert, listing.expert.display_name),
      fact(t.modes[tariff.mode], priceText(tariff)),
      fact(t.order.hold, money(tariff.prepay_minor), { class: "strong", testid: "order-hold" }),
      fact(t.order.available, money(app.wallet.value?.available.amount ?? 0)),
      missing > 0
        ? fact(t.order.missing, money(missing), { class: "strong warn" })
        : h("div", { hidden: true }),
    ),
  );
}

/** True when the order is paid; false when the customer gave up the top-up. */
async function placeOrder(app: App, listing: Listing, tariff: Tariff): Promise<boolean> {
  try {
    await app.api.createOrder(listing.id, tariff.mode);
    return true;
  } catch (error) {
    const refusal = asTalktimeError(error);
    if (refusal.details.status !== 402) throw error;
    const orderId = await unpaidOrder(app, listing, tariff, refusal);
    return payAfterTopUp(app, orderId, refusal.shortfallMinor ?? tariff.prepay_minor);
  }
}

/** A 402 keeps the order; it names it, or it is the newest unpaid one of this listing. */
async function unpaidOrder(
  app: App,
  listing: Listing,
  tariff: Tariff,
  refusal: TalktimeError,
): Promise<string> {
  if (typeof refusal.details.order_id === "string") return refusal.details.order_id;
  const order = (await app.api.orders("customer")).find(
    ({ listing_id, mode, state }) =>
      listing_id === listing.id && mode === tariff.mode && state === "pending_payment",
  );
  if (!order) throw refusal;
  return order.id;
}

/** Tops up by the needed sum; the success also pays the order. */
export async function payAfterTopUp(app: App, orderId: string, shortfallMinor: number): Promise<boolean> {
  if (!(await topUpDialog(app, { neededMinor: shortfallMinor, orderId }))) return false;
  const order = await app.api.order(orderId);
  if (order.state === "pending_payment") await app.api.actOnOrder(orderId, "pay");
  return true;
}

function finish(app: App, close: () => void): void {
  close();
  toast(t.order.done);
  app.refresh();
  location.hash = "#/orders";
}
