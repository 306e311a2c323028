import { type Child, h } from "../page/dom";
import { formatDuration, languageNames } from "../page/format";
import { formatNumber } from "../page/language";
import type { Scope } from "../page/signal";
import { priceText } from "../page/widgets";
import { linkButton, loaded, money, pageHead, presenceLine, stars } from "./parts";
import type { Listing } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

/** Up to four listings side by side (P5, P6). */
export function comparePage(store: Store, scope: Scope, ids: string): HTMLElement {
  const load = async () => (ids ? (await store.api.search({ ids, text_locale: store.locale })).items : []);
  const { element } = loaded(load, (listings) => table(store, scope, listings));
  return h("div", { class: "stack" }, pageHead(w.compare.title), element, linkButton(w.toCatalogue, "#/"));
}

function table(store: Store, scope: Scope, listings: Listing[]): HTMLElement {
  if (listings.length === 0) return h("p", { class: "empty" }, w.noneYet);
  store.watchExperts(listings.map(({ expert }) => expert));
  const row = (name: string, cell: (listing: Listing) => Child) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      ...listings.map((listing) => h("td", { dir: "auto" }, cell(listing))),
    );
  return h(
    "div",
    { class: "table-scroll card", role: "region", "aria-label": w.compare.title, tabindex: "0" },
    h(
      "table",
      { class: "table compare", testid: "comparison" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, w.compare.property)),
          ...listings.map(({ id, title, locale }) =>
            h(
              "th",
              { scope: "col", dir: "auto", lang: locale, testid: "compared", "data-id": id },
              h("a", { href: `#/listing/${id}` }, title),
            ),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        row(w.find.kind, ({ kind }) => w.kinds[kind]),
        row(w.compare.expert, ({ expert }) =>
          h("a", { href: `#/expert/${expert.slug}` }, expert.display_name),
        ),
        row(w.compare.price, prices),
        row(w.compare.delivery, ({ delivery_days }) => (delivery_days ? w.days(delivery_days) : "–")),
        row(w.compare.expertRating, ({ expert }) => stars(expert.rating, expert.review_count)),
        row(w.compare.orders, ({ order_count }) => formatNumber(order_count)),
        row(w.compare.completed, ({ expert }) => formatNumber(expert.completed_orders)),
        row(w.compare.response, ({ expert }) =>
          expert.response_s === null ? "–" : formatDuration(expert.response_s),
        ),
        row(w.compare.languages, ({ expert }) => languageNames(expert.languages)),
        row(w.compare.presence, ({ expert }) => presenceLine(store, scope, expert)),
        row(w.open, ({ id }) => linkButton(w.open, `#/listing/${id}`, { class: "primary" })),
      ),
    ),
  );
}

function prices({ price, tariffs }: Listing): Child {
  if (price) return money(price);
  return h(
    "ul",
    {},
    ...tariffs.map((tariff) => h("li", {}, `${w.modes[tariff.mode]}: ${priceText(tariff)}`)),
  );
}
