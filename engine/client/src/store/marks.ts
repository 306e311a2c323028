import { h } from "../page/dom";
import { icon } from "../page/icons";
import { toast, toastError } from "../page/notices";
import type { Scope } from "../page/signal";
import { button } from "../page/widgets";
import type { Marked, Reported } from "./api";
import { card } from "./find";
import { askDialog, expertStars, loaded, pageHead, photo, presenceLine } from "./parts";
import type { ExpertCard } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

/** Favourites, blocks and complaints: what a user notes about others. */

/** A heart that is filled while this is a favourite; guests are led to the sign-in. */
export function heart(store: Store, scope: Scope, type: Marked, id: string, title: string): HTMLElement {
  const element = h(
    "button",
    {
      type: "button",
      class: "icon-button heart",
      "aria-label": w.favourites.mark(title),
      title: w.favourites.markShort,
      testid: "favourite",
    },
    icon("heart"),
  );
  element.addEventListener("click", () => {
    if (store.signedIn()) store.markFavourite(type, id).catch(toastError);
  });
  store.favourites.watch(scope, (known) =>
    element.setAttribute("aria-pressed", String(known.has(`${type}/${id}`))),
  );
  return element;
}

export function favouritesPage(store: Store, scope: Scope): HTMLElement {
  const { element, again } = loaded(store.api.favourites, ({ items }) => {
    const experts = items.flatMap(({ expert }) => (expert ? [expert] : []));
    const listings = items.flatMap(({ listing }) => (listing ? [listing] : []));
    store.watchExperts([...experts, ...listings.map(({ expert }) => expert)]);
    if (items.length === 0) return h("p", { class: "muted", testid: "no-favourites" }, w.favourites.empty);
    return h(
      "div",
      { class: "stack" },
      ...group(
        w.favourites.listings,
        listings.map((listing) => card(store, scope, listing)),
      ),
      ...group(
        w.favourites.experts,
        experts.map((expert) => expertRow(store, scope, expert)),
      ),
    );
  });
  let shown = store.favourites.value;
  store.favourites.watch(scope, (known) => {
    if (known !== shown) void again();
    shown = known;
  });
  return h("div", { class: "stack" }, pageHead(w.favourites.title), element);
}

function group(title: string, cards: HTMLElement[]): HTMLElement[] {
  return cards.length > 0 ? [h("h2", {}, title), h("div", { class: "listings" }, ...cards)] : [];
}

function expertRow(store: Store, scope: Scope, expert: ExpertCard): HTMLElement {
  return h(
    "article",
    { class: "card row", testid: "favourite-expert", "data-id": expert.id },
    photo(expert),
    h(
      "div",
      { class: "grow" },
      h("h3", {}, h("a", { class: "plain", href: `#/expert/${expert.slug}` }, expert.display_name)),
      h("p", { class: "muted small", dir: "auto" }, expert.headline),
      h("p", { class: "row wrap" }, expertStars(expert), presenceLine(store, scope, expert)),
    ),
    heart(store, scope, "expert", expert.id, expert.display_name),
  );
}

/** A complaint (T83) becomes a case: its page is where it goes on. */
export function reportButton(store: Store, type: Reported, id: string, label: string): HTMLElement {
  const ask = () => {
    if (!store.signedIn()) return;
    const question = { title: label, label: w.report.ask, confirm: w.report.send, required: true };
    return askDialog(question, async (reason) => {
      const { id: caseId, number } = await store.api.report(type, id, reason);
      toast(w.report.sent(number));
      location.hash = `#/case/${caseId}`;
    });
  };
  return button(label, { kind: "quiet", class: "small", testid: "report", action: ask });
}

export function blockButton(store: Store, id: string, name: string): HTMLElement {
  const ask = () => {
    if (!store.signedIn()) return;
    const question = { title: w.blocks.blockThis(name), text: w.blocks.sure, confirm: w.blocks.block };
    return askDialog({ ...question, danger: true }, async () => {
      await store.api.block(id);
      toast(w.blocks.done(name));
    });
  };
  return button(w.blocks.block, {
    kind: "quiet",
    class: "small",
    testid: "block",
    "aria-label": w.blocks.blockThis(name),
    action: ask,
  });
}
