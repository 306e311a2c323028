import { h, setText, show } from "../page/dom";
import { languageNames, moneyInput, parseMoney } from "../page/format";
import { errorText } from "../page/notices";
import type { Scope } from "../page/signal";
import { button, webUrl } from "../page/widgets";
import type { Query } from "./api";
import { heart } from "./marks";
import {
  checkbox,
  expertStars,
  field,
  freshId,
  input,
  linkButton,
  listingPrice,
  pageHead,
  photo,
  presenceLine,
  select,
} from "./parts";
import type { Category, Listing } from "./rest";
import { MOST_COMPARED, type Store } from "./store";
import { w } from "./words";

const LANGUAGES = ["en", "ru", "fa", "de", "es", "fr", "tr", "ro"];
const PAGE = 24;

/** The catalogue: search, filters, sort, cards, and what is chosen for comparison. */
export function findPage(store: Store, scope: Scope): HTMLElement {
  const results = new Results(store, scope);
  const fields = searchFields(store, givenSearch());
  const search = () => {
    const wanted = readFields(store, fields);
    const hash = new URLSearchParams(wanted as Record<string, string>).toString();
    history.replaceState(null, "", hash ? `#/?${hash}` : "#/");
    return results.show(wanted);
  };
  const element = h(
    "form",
    {
      class: "finder",
      role: "search",
      on: {
        submit: (event) => {
          event.preventDefault();
          void search();
        },
        change: () => void search(),
      },
    },
    ...layout(store, fields),
  );
  void results.show(readFields(store, fields));
  return h(
    "div",
    {},
    pageHead(store.market.title, h("p", { class: "muted", dir: "auto" }, store.market.tagline)),
    element,
    results.element,
    compareBar(store, scope),
  );
}

type Fields = Record<string, HTMLInputElement | HTMLSelectElement>;

function givenSearch(): URLSearchParams {
  return new URLSearchParams(location.hash.split("?")[1] ?? "");
}

function searchFields({ market, categories }: Store, given: URLSearchParams): Fields {
  const value = (name: string) => given.get(name) ?? "";
  const any = ["", w.find.any] as const;
  const kinds = market.kinds.map((kind) => [kind, w.kinds[kind]] as const);
  const slugs = categories.flatMap(withChildren).map(({ slug, name }) => [slug, name] as const);
  const spoken = LANGUAGES.map((code) => [code, languageNames([code])] as const);
  const locales = market.locales.map((code) => [code, languageNames([code])] as const);
  const sorts = Object.entries(w.find.sorts);
  const price = (name: string) => {
    const minor = Number(value(name));
    const text = minor ? moneyInput(minor, market.currency) : "";
    return input(text, { inputmode: "decimal", testid: `filter-${name}` });
  };
  const stars = [4, 3].map((least) => [String(least), w.find.ratingAtLeast(least)] as const);
  return {
    q: input(value("q"), { type: "search", placeholder: w.find.placeholder, testid: "search" }),
    kind: select([any, ...kinds], value("kind"), { testid: "filter-kind" }),
    category: select([["", w.find.all], ...slugs], value("category"), { testid: "filter-category" }),
    language: select([any, ...spoken], value("language"), { testid: "filter-language" }),
    locale: select([any, ...locales], value("locale"), { testid: "filter-locale" }),
    price_min: price("price_min"),
    price_max: price("price_max"),
    rating_min: select([any, ...stars], value("rating_min"), { testid: "filter-rating" }),
    online: h("input", { type: "checkbox", checked: given.has("online"), testid: "filter-online" }),
    sort: select(sorts, value("sort") || market.sort, { testid: "sort" }),
  };
}

function withChildren(category: Category): Category[] {
  const children = category.children.map((child) => ({ ...child, name: `– ${child.name}` }));
  return [category, ...children];
}

function readFields({ market }: Store, fields: Fields): Query {
  const wanted: Query = {};
  for (const [name, control] of Object.entries(fields)) {
    const value = readField(market.currency, name, control);
    if (value && !(name === "sort" && value === market.sort)) wanted[name] = value;
  }
  return wanted;
}

function readField(currency: string, name: string, control: Fields[string]): Query[string] {
  if (control.type === "checkbox") return (control as HTMLInputElement).checked;
  return name.startsWith("price_") ? parseMoney(control.value, currency) : control.value.trim();
}

function layout(store: Store, fields: Fields): HTMLElement[] {
  const named = (name: string, label: string) => field(label, fields[name] as HTMLInputElement);
  const unit = ` (${store.market.currency})`;
  return [
    h(
      "div",
      { class: "search-row" },
      h("label", { class: "visually-hidden", for: searchId(fields) }, w.find.search),
      fields.q as HTMLElement,
      button(w.find.search, { kind: "primary", type: "submit", testid: "search-go" }),
    ),
    h(
      "div",
      { class: "filters" },
      named("category", w.find.category),
      named("kind", w.find.kind),
      named("sort", w.find.sort),
      h("label", { class: "check" }, fields.online as HTMLElement, h("span", {}, w.find.online)),
    ),
    h(
      "details",
      { class: "more-filters" },
      h("summary", {}, w.find.filters),
      h(
        "div",
        { class: "filters" },
        named("language", w.find.language),
        named("locale", w.find.locale),
        named("price_min", w.find.priceFrom + unit),
        named("price_max", w.find.priceTo + unit),
        named("rating_min", w.find.rating),
      ),
    ),
  ];
}

function searchId(fields: Fields): string {
  const control = fields.q as HTMLInputElement;
  control.id ||= freshId("search");
  return control.id;
}

/** What was found, a page after the other. Of two searches under way the later one counts. */
class Results {
  readonly element: HTMLElement;
  readonly #count = h("p", { class: "muted small", role: "status", testid: "result-count" });
  readonly #cards = h("div", { class: "listings", testid: "results" });
  readonly #more = h("div", { class: "row center" });
  #turn = 0;

  constructor(
    private readonly store: Store,
    private readonly scope: Scope,
  ) {
    this.element = h("section", { class: "stack" }, this.#count, this.#cards, this.#more);
  }

  async show(wanted: Query, cursor?: string): Promise<void> {
    const turn = ++this.#turn;
    this.#cards.setAttribute("aria-busy", "true");
    try {
      const page = await this.store.api.search({
        ...wanted,
        text_locale: this.store.locale,
        cursor,
        limit: PAGE,
      });
      if (turn !== this.#turn) return;
      if (!cursor) this.#cards.replaceChildren();
      this.#cards.append(...page.items.map((listing) => card(this.store, this.scope, listing)));
      this.store.watchExperts(page.items.map(({ expert }) => expert));
      const shown = this.#cards.childElementCount;
      const next = page.next_cursor;
      setText(this.#count, shown > 0 ? w.find.results(shown, next !== null) : w.find.empty);
      this.#more.replaceChildren();
      if (next) this.#more.append(button(w.more, { testid: "more", action: () => this.show(wanted, next) }));
    } catch (error) {
      if (turn === this.#turn) setText(this.#count, errorText(error));
    } finally {
      if (turn === this.#turn) this.#cards.removeAttribute("aria-busy");
    }
  }
}

export function card(store: Store, scope: Scope, listing: Listing): HTMLElement {
  const { expert } = listing;
  const [picture] = listing.images;
  return h(
    "article",
    { class: "card listing", testid: "listing", "data-id": listing.id, "data-kind": listing.kind },
    picture ? h("img", { class: "listing-picture", src: webUrl(picture), alt: "", loading: "lazy" }) : null,
    h(
      "header",
      { class: "listing-head" },
      photo(expert),
      h(
        "div",
        { class: "grow" },
        h(
          "p",
          { class: "listing-expert" },
          h("a", { class: "plain", href: `#/expert/${expert.slug}` }, expert.display_name),
        ),
        h("p", { class: "muted small", dir: "auto" }, expert.headline),
        presenceLine(store, scope, expert),
      ),
    ),
    h(
      "h2",
      { class: "listing-title", dir: "auto", lang: listing.locale },
      h("a", { class: "plain", href: `#/listing/${listing.id}`, testid: "listing-link" }, listing.title),
    ),
    h("p", { class: "listing-text", dir: "auto", lang: listing.locale }, listing.description),
    h(
      "p",
      { class: "chips" },
      h("span", { class: "chip" }, w.kinds[listing.kind]),
      h("span", { class: "chip", dir: "auto" }, listing.category_name),
      expertStars(expert),
    ),
    h(
      "footer",
      { class: "listing-foot" },
      h("strong", { class: "grow", testid: "price" }, listingPrice(listing)),
      compareBox(store, scope, listing),
      heart(store, scope, "listing", listing.id, listing.title),
    ),
  );
}

function compareBox(store: Store, scope: Scope, listing: Listing): HTMLElement {
  const [label, box] = checkbox(w.find.compare, false, {
    testid: "compare",
    "aria-label": w.find.compareThis(listing.title),
  });
  box.addEventListener("change", (event) => {
    event.stopPropagation();
    const others = store.compared.value.filter((id) => id !== listing.id);
    store.compared.set(box.checked ? [...others, listing.id] : others);
  });
  store.compared.watch(scope, (ids) => {
    box.checked = ids.includes(listing.id);
    box.disabled = !box.checked && ids.length >= MOST_COMPARED;
  });
  return label;
}

function compareBar(store: Store, scope: Scope): HTMLElement {
  const go = linkButton("", "#/compare", { class: "primary", testid: "compare-go" });
  const clear = button(w.find.compareClear, { kind: "quiet", action: () => store.compared.set([]) });
  const bar = h(
    "div",
    { class: "compare-bar card row wrap", testid: "compare-bar" },
    h("p", { class: "grow muted small" }, w.find.compareMost),
    clear,
    go,
  );
  store.compared.watch(scope, (ids) => {
    show(bar, ids.length > 0);
    setText(go, w.find.compareGo(ids.length));
    go.setAttribute("href", `#/compare/${ids.join(",")}`);
  });
  return bar;
}
