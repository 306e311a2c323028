import type { App } from "../app";
import { h, setText } from "../dom";
import { languageNames } from "../format";
import { errorText } from "../notices";
import type { ExpertCard, Listing, Tariff } from "../rest";
import type { Scope } from "../signal";
import { t } from "../strings";
import { avatar, button, modeIcon, priceNotes, priceText } from "../widgets";
import { orderDialog } from "./order-dialog";

/** The catalogue: consultation listings with their experts, presence and a price per mode (T39). */
export function findView(app: App, scope: Scope): HTMLElement {
  const list = h(
    "div",
    { class: "listings", "aria-busy": "true" },
    placeholder(),
    placeholder(),
    placeholder(),
  );
  void load(app, scope, list);
  return h(
    "div",
    {},
    h("div", { class: "page-head" }, h("h1", {}, t.find.title), h("p", { class: "muted" }, t.find.intro)),
    list,
  );
}

async function load(app: App, scope: Scope, list: HTMLElement): Promise<void> {
  try {
    const listings = await app.api.listings();
    const consultations = listings.filter(({ tariffs }) => tariffs.length > 0);
    list.replaceChildren(...consultations.map((listing) => card(app, scope, listing)));
    if (consultations.length === 0) list.append(h("p", { class: "empty" }, t.find.empty));
    await app.watchExperts(consultations.map(({ expert }) => expert.id));
  } catch (error) {
    const retry = button(t.retry, { action: () => load(app, scope, list) });
    list.replaceChildren(h("div", { class: "empty" }, h("p", {}, errorText(error)), retry));
  } finally {
    list.removeAttribute("aria-busy");
  }
}

function card(app: App, scope: Scope, listing: Listing): HTMLElement {
  const { expert } = listing;
  return h(
    "article",
    { class: "card listing", testid: "listing", "data-id": listing.id },
    h(
      "header",
      { class: "listing-head" },
      avatar(expert.display_name, expert.id, "large"),
      h(
        "div",
        { class: "grow" },
        h("p", { class: "listing-expert" }, expert.display_name),
        h("p", { class: "muted small", dir: "auto" }, expert.headline),
        presenceLine(app, scope, expert),
      ),
    ),
    h("h2", { class: "listing-title", dir: "auto" }, listing.title),
    h("p", { class: "listing-text", dir: "auto" }, listing.description),
    h("p", { class: "chips" }, ...chips(listing)),
    existingOrder(listing),
    h("ul", { class: "tariffs" }, ...listing.tariffs.map((tariff) => tariffRow(app, listing, tariff))),
  );
}

function chips({ category_name, expert }: Listing): HTMLElement[] {
  const names = expert.languages.map((code) => languageNames([code]));
  return [category_name, ...names].filter(Boolean).map((text) => h("span", { class: "chip" }, text));
}

/** A dot and a word that follow the expert's presence live. */
function presenceLine(app: App, scope: Scope, expert: ExpertCard): HTMLElement {
  const word = h("span");
  const line = h("p", { class: "presence", testid: "presence" }, h("span", { class: "dot" }), word);
  app.presence.watch(scope, (known) => {
    const { online, status, callable } = known.get(expert.id) ?? expert;
    const shown = online ? status : "offline";
    line.dataset.status = shown;
    line.dataset.callable = String(callable);
    setText(word, t.presence[shown]);
  });
  return line;
}

function existingOrder(listing: Listing): HTMLElement | null {
  const open = listing.my_orders.find(({ state }) => state === "open");
  if (!open) return null;
  return h(
    "p",
    { class: "note" },
    `${t.find.yourOrder}: `,
    h("a", { href: "#/orders" }, `${t.order.number(open.number)} (${t.modes[open.mode]})`),
  );
}

function tariffRow(app: App, listing: Listing, tariff: Tariff): HTMLElement {
  const mode = t.modes[tariff.mode];
  const order = button(t.find.order, {
    testid: "order-button",
    "data-mode": tariff.mode,
    "aria-label": t.find.orderLabel(mode, listing.title),
    action: () => orderDialog(app, listing, tariff),
  });
  return h(
    "li",
    { class: "tariff", testid: "tariff", "data-mode": tariff.mode },
    modeIcon(tariff.mode),
    h(
      "div",
      { class: "grow" },
      h("p", { class: "tariff-price" }, priceText(tariff)),
      h("p", { class: "muted small" }, [mode, priceNotes(tariff)].filter(Boolean).join(" · ")),
    ),
    order,
  );
}

function placeholder(): HTMLElement {
  return h("div", { class: "card skeleton", "aria-hidden": "true" });
}
