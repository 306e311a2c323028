import type { App } from "../app";
import { type DialogHandle, openDialog } from "../dialog";
import { h, setText } from "../dom";
import { formatMoney, moneyInput, parseMoney } from "../format";
import { errorText, toast } from "../notices";
import type { TopUp } from "../rest";
import { t } from "../strings";
import { busyWhile, button, webUrl } from "../widgets";

export interface TopUpOptions {
  /** What is needed to go on: the form is filled with it (T40). */
  neededMinor?: number;
  /** This order is paid when the payment succeeds. */
  orderId?: string;
}

/** Whose money it is. */
export type Purse = Pick<App, "api" | "wallet" | "refreshWallet">;

const POLL_MS = 1_000;
const SUGGESTED_MINOR = 2_000;

/** Tops the wallet up; resolves to whether money arrived. */
export async function topUpDialog(app: Purse, options: TopUpOptions = {}): Promise<boolean> {
  const state = { paid: false };
  const dialog = openDialog(t.wallet.dialogTitle, "topup-dialog");
  dialog.body.replaceChildren(amountForm(app, options, (topUp) => pay(app, dialog, topUp, state)));
  dialog.body.querySelector<HTMLInputElement>("input")?.select();
  await dialog.closed;
  return state.paid;
}

function amountForm(app: Purse, options: TopUpOptions, created: (topUp: TopUp) => void): HTMLElement {
  const currency = app.wallet.value?.available.currency ?? "EUR";
  const needed = options.neededMinor ?? null;
  const amount = h("input", {
    id: "topup-amount",
    inputmode: "decimal",
    autocomplete: "off",
    value: moneyInput(needed ?? SUGGESTED_MINOR, currency),
    "aria-describedby": "topup-error",
    testid: "topup-amount",
  });
  const failure = h("p", { class: "form-error", role: "alert", id: "topup-error" });
  const submit = button(t.wallet.submit, {
    kind: "primary",
    type: "submit",
    testid: "topup-submit",
    class: "wide",
  });
  const send = async () => {
    const minor = parseMoney(amount.value, currency);
    if (minor === null) {
      setText(failure, t.wallet.invalid);
      amount.focus();
      return;
    }
    try {
      created(await app.api.createTopUp(minor, options.orderId ?? null));
    } catch (error) {
      setText(failure, errorText(error));
    }
  };
  const onSubmit = (event: Event) => {
    event.preventDefault();
    void busyWhile(submit, send);
  };
  return h(
    "form",
    { class: "form", on: { submit: onSubmit } },
    needed === null ? null : h("p", { class: "muted" }, t.wallet.needed(formatMoney(needed, currency))),
    h(
      "div",
      { class: "field" },
      h("label", { for: "topup-amount" }, t.wallet.amount),
      h("div", { class: "affix" }, amount, h("span", { class: "affix-text" }, currency)),
    ),
    failure,
    submit,
  );
}

/** The provider's part: the test provider is played here, a real one opens its own page. */
function pay(app: Purse, dialog: DialogHandle, topUp: TopUp, state: { paid: boolean }): void {
  const settled = (outcome: TopUp) => conclude(app, dialog, outcome, state);
  if (topUp.state !== "pending") void settled(topUp);
  else if (topUp.provider === "test") dialog.body.replaceChildren(testCheckout(app, topUp, settled));
  else dialog.body.replaceChildren(externalCheckout(app, dialog, topUp, settled));
}

type Settled = (topUp: TopUp) => Promise<void>;

function testCheckout(app: Purse, topUp: TopUp, settled: Settled): HTMLElement {
  const providerRef = topUp.checkout_url?.split(/[?#]/)[0]?.split("/").at(-1) ?? topUp.id;
  const decide = (outcome: "succeed" | "fail") => async () => {
    await app.api.decideTestPayment(providerRef, outcome);
    await settled(await untilSettled(app, topUp, () => true));
  };
  const money = formatMoney(topUp.amount.amount, topUp.amount.currency);
  const accept = button(t.wallet.pay(money), {
    kind: "primary",
    testid: "topup-pay",
    action: decide("succeed"),
  });
  const decline = button(t.wallet.decline, { testid: "topup-decline", action: decide("fail") });
  queueMicrotask(() => accept.focus());
  return h(
    "div",
    { class: "form" },
    h("p", { class: "test-mark" }, t.wallet.testTitle),
    h("p", {}, t.wallet.testText),
    h("footer", { class: "dialog-actions" }, decline, accept),
  );
}

function externalCheckout(app: Purse, dialog: DialogHandle, topUp: TopUp, settled: Settled): HTMLElement {
  void untilSettled(app, topUp, () => dialog.element.open).then(settled);
  const link = h(
    "a",
    { class: "button primary wide", href: webUrl(topUp.checkout_url), target: "_blank", rel: "noopener" },
    t.wallet.openCheckout,
  );
  return h("div", { class: "form" }, link, h("p", { class: "muted", role: "status" }, t.wallet.waiting));
}

async function untilSettled(app: Purse, topUp: TopUp, wanted: () => boolean): Promise<TopUp> {
  let current = await app.api.topUp(topUp.id);
  while (current.state === "pending" && wanted()) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    current = await app.api.topUp(topUp.id).catch(() => current);
  }
  return current;
}

async function conclude(
  app: Purse,
  dialog: DialogHandle,
  topUp: TopUp,
  state: { paid: boolean },
): Promise<void> {
  const { amount, currency } = topUp.amount;
  if (topUp.state === "succeeded") {
    state.paid = true;
    await app.refreshWallet().catch(() => undefined);
    dialog.close();
    toast(t.wallet.succeeded(formatMoney(amount, currency)));
  } else if (topUp.state !== "pending") {
    const close = button(t.close, { kind: "primary", action: () => dialog.close() });
    dialog.body.replaceChildren(
      h("p", { testid: "topup-result", role: "alert" }, t.wallet.failed),
      h("footer", { class: "dialog-actions" }, close),
    );
  }
}
