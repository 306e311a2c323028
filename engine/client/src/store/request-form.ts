import { openDialog } from "../page/dialog";
import { h } from "../page/dom";
import { moneyInput, parseCount, parseMoney } from "../page/format";
import { toast } from "../page/notices";
import type { Money } from "../page/rest";
import { field, filePicker, form, input, select, textarea } from "./parts";
import type { Listing, Proposal, WorkRequest } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

/** A request to the expert of a listing (P8), or to some experts of a category. */
export async function requestDialog(store: Store, to: { listing?: Listing } = {}): Promise<void> {
  const { listing } = to;
  const { currency } = store.market;
  const title = input(listing?.title ?? "", { maxlength: 160, testid: "request-title" });
  const body = textarea("", { maxlength: 4_000, testid: "request-body", "data-autofocus": true });
  const budget = input("", { inputmode: "decimal", testid: "request-budget" });
  const slugs = store.categories.map(({ slug, name }) => [slug, name] as const);
  const category = select(slugs, slugs[0]?.[0] ?? "", { testid: "request-category" });
  const picker = filePicker(store, "attachment", w.chooseFiles);
  const content = [
    h(
      "p",
      { class: "muted" },
      listing ? w.requests.toExpert(listing.expert.display_name) : w.requests.toCategory,
    ),
    listing ? null : field(w.find.category, category),
    field(w.requests.name, title),
    field(w.requests.body, body),
    field(`${w.requests.budget} (${currency}, ${w.optional})`, budget),
    picker.element,
  ];
  const element = form(content, w.send, "request-submit", async () => {
    const request: WorkRequest = await store.api.sendRequest({
      ...(listing ? { listing_id: listing.id } : { category: category.value }),
      title: title.value.trim(),
      body: body.value.trim(),
      files: picker.ids(),
      budget_minor: optionalMoney(budget.value, currency),
    });
    dialog.close();
    toast(w.requests.sent);
    location.hash = `#/request/${request.id}`;
  });
  const dialog = openDialog(w.requests.create, "request-dialog", element);
  await dialog.closed;
}

/** An offer of the expert, or either side's counter-offer; it starts from what lies on the table. */
export async function offerDialog(
  store: Store,
  title: string,
  known: Pick<Proposal, "price" | "delivery_days"> | null,
  send: (offer: { price_minor: number; delivery_days: number; note: string }) => Promise<unknown>,
): Promise<void> {
  const { currency } = store.market;
  const shown: Money | null = known?.price ?? null;
  const price = input(shown ? moneyInput(shown.amount, currency) : "", {
    inputmode: "decimal",
    testid: "offer-price",
    "data-autofocus": true,
  });
  const days = input(known?.delivery_days ? String(known.delivery_days) : "", {
    inputmode: "numeric",
    testid: "offer-days",
  });
  const note = textarea("", { maxlength: 2_000, testid: "offer-note" });
  const content = [
    field(`${w.requests.price} (${currency})`, price),
    field(w.requests.days, days),
    field(w.requests.note, note),
  ];
  const element = form(content, w.send, "offer-submit", async () => {
    const price_minor = parseMoney(price.value, currency);
    const delivery_days = parseCount(days.value);
    if (price_minor === null) throw new Error(w.amountWrong);
    if (!Number.isInteger(delivery_days) || delivery_days < 1) throw new Error(w.requests.daysWrong);
    await send({ price_minor, delivery_days, note: note.value.trim() });
    dialog.close();
  });
  const dialog = openDialog(title, "offer-dialog", element);
  await dialog.closed;
}

/** Null for an empty field; throws for what is no amount. */
export function optionalMoney(text: string, currency: string): number | null {
  if (text.trim() === "") return null;
  const minor = parseMoney(text, currency);
  if (minor === null) throw new Error(w.amountWrong);
  return minor;
}
