import { type Child, h } from "../page/dom";
import { formatList, languageNames } from "../page/format";
import type { Tariff } from "../page/rest";
import type { Scope } from "../page/signal";
import { button, modeIcon, priceNotes, priceText, webUrl } from "../page/widgets";
import { buyDialog } from "./buy";
import { about, reviewList } from "./expert";
import { heart, reportButton } from "./marks";
import { expertStars, linkButton, loaded, money, pageHead, photo, presenceLine, prose } from "./parts";
import { requestDialog } from "./request-form";
import type { Listing } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

/** A listing: its texts in all its languages, prices with "Order" beside each (T39), its expert, reviews. */
export function listingPage(store: Store, scope: Scope, id: string): HTMLElement {
  const load = async () => {
    const listing = await store.api.listing(id, store.locale);
    const others = listing.locales.filter((locale) => locale !== listing.locale);
    const [translations, reviews, expert] = await Promise.all([
      Promise.all(others.map((locale) => store.api.listing(id, locale))),
      store.api.reviews("listings", id),
      store.api.expert(listing.expert.slug, listing.locale),
    ]);
    return { texts: [listing, ...translations] as [Listing, ...Listing[]], reviews, expert };
  };
  const { element } = loaded(load, ({ texts, reviews, expert }, again) => {
    const [listing] = texts;
    store.watchExperts([listing.expert]);
    return h(
      "div",
      { class: "listing-page", testid: "listing-page" },
      listingHead(store, scope, listing),
      aside(store, scope, listing),
      h(
        "div",
        { class: "stack" },
        pictures(listing),
        ...texts.map((text, n) => textCard(text, n > 0)),
        listing.requirements ? needs(listing) : null,
        h("h2", {}, w.listing.about),
        about(store, expert),
        reviewList(store, reviews, () => void again()),
      ),
    );
  });
  return element;
}

function listingHead(store: Store, scope: Scope, listing: Listing): HTMLElement {
  return pageHead(
    listing.title,
    h(
      "p",
      { class: "chips" },
      h("span", { class: "chip" }, w.kinds[listing.kind]),
      h("span", { class: "chip", dir: "auto" }, listing.category_name),
      expertStars(listing.expert),
      heart(store, scope, "listing", listing.id, listing.title),
    ),
  );
}

function pictures({ images }: Listing): HTMLElement | null {
  if (images.length === 0) return null;
  return h(
    "div",
    { class: "pictures" },
    ...images.map((url, n) => h("img", { src: webUrl(url), alt: w.listing.picture(n + 1) })),
  );
}

function textCard(listing: Listing, titled: boolean): HTMLElement {
  return h(
    "section",
    { class: "card stack", testid: "listing-text", lang: listing.locale },
    h("p", { class: "muted small" }, languageNames([listing.locale])),
    titled ? h("h2", { dir: "auto" }, listing.title) : null,
    prose(listing.description, listing.locale),
  );
}

function needs(listing: Listing): HTMLElement {
  return h(
    "section",
    { class: "card", testid: "listing-needs" },
    h("h2", { class: "card-title" }, w.listing.needs),
    prose(listing.requirements),
  );
}

function aside(store: Store, scope: Scope, listing: Listing): HTMLElement {
  const { expert } = listing;
  const own = store.user?.id === expert.id;
  return h(
    "aside",
    { class: "stack" },
    h(
      "section",
      { class: "card" },
      h("h2", { class: "card-title" }, w.listing.prices),
      h("ul", { class: "tariffs" }, ...priceRows(store, listing, own)),
      own ? h("p", { class: "note small" }, w.listing.own) : null,
      ownOrders(listing),
    ),
    h(
      "section",
      { class: "card stack" },
      h(
        "div",
        { class: "row" },
        photo(expert, "medium"),
        h(
          "div",
          { class: "grow" },
          h("p", { class: "strong" }, expert.display_name),
          presenceLine(store, scope, expert),
        ),
      ),
      linkButton(w.listing.profile, `#/expert/${expert.slug}`),
      own ? null : askButton(store, listing),
      own || !store.market.negotiation
        ? null
        : button(w.listing.request, {
            testid: "send-request",
            action: () => store.signedIn() && requestDialog(store, { listing }),
          }),
      own ? null : reportButton(store, "listing", listing.id, w.listing.report),
    ),
  );
}

function ownOrders({ my_orders }: Listing): HTMLElement | null {
  if (my_orders.length === 0) return null;
  return h(
    "p",
    { class: "note small" },
    `${w.listing.yourOrders}: `,
    ...my_orders.map(({ id, number }) => h("a", { href: `#/order/${id}` }, `${number} `)),
  );
}

/** Before buying, a question (P7): it leads to the conversation of the two. */
function askButton(store: Store, listing: Listing): HTMLElement {
  return button(w.listing.ask, {
    icon: "chat",
    testid: "ask",
    action: async () => {
      if (!store.signedIn()) return;
      location.hash = `#/talk/${(await store.api.ask(listing.id)).id}`;
    },
  });
}

function priceRows(store: Store, listing: Listing, own: boolean): HTMLElement[] {
  if (listing.kind === "consult") {
    return listing.tariffs.map((tariff) => tariffRow(store, listing, tariff, own));
  }
  const kind = w.kinds[listing.kind];
  const note =
    listing.kind === "work"
      ? listing.delivery_days && w.listing.delivery(w.days(listing.delivery_days))
      : included(listing);
  const price = listing.price ? money(listing.price) : "";
  return [
    priceRow(
      { what: kind, price, note: note || "", icon: null },
      own ? null : orderButton(store, listing, null, kind),
    ),
  ];
}

/** "2 files, 1 link, to download at once" */
function included({ file_count, link_count }: Listing): string {
  const parts = [
    file_count > 0 ? w.listing.files(file_count) : "",
    link_count > 0 ? w.listing.links(link_count) : "",
    w.listing.atOnce,
  ];
  return formatList(parts.filter(Boolean));
}

function tariffRow(store: Store, listing: Listing, tariff: Tariff, own: boolean): HTMLElement {
  const mode = w.modes[tariff.mode];
  const note = [mode, priceNotes(tariff)].filter(Boolean).join(" · ");
  const texts = { what: tariff.mode, price: priceText(tariff), note, icon: modeIcon(tariff.mode) };
  return priceRow(texts, own ? null : orderButton(store, listing, tariff, mode));
}

interface RowTexts {
  what: string;
  price: string;
  note: string;
  icon: Child;
}

function priceRow({ what, price, note, icon }: RowTexts, order: HTMLElement | null): HTMLElement {
  return h(
    "li",
    { class: "tariff", testid: "tariff", "data-mode": what },
    icon,
    h(
      "div",
      { class: "grow" },
      h("p", { class: "tariff-price" }, price),
      h("p", { class: "muted small" }, note),
    ),
    order,
  );
}

function orderButton(store: Store, listing: Listing, tariff: Tariff | null, what: string): HTMLElement {
  return button(w.listing.order, {
    kind: "primary",
    testid: "order-button",
    "data-mode": tariff?.mode ?? null,
    "aria-label": w.listing.orderLabel(what, listing.title),
    action: () => store.signedIn() && buyDialog(store, listing, tariff),
  });
}
