import { type Child, h, show } from "../page/dom";
import { formatUnit, languageNames, moneyInput, parseCount } from "../page/format";
import { toast } from "../page/notices";
import type { Scope } from "../page/signal";
import { word } from "../page/strings";
import { button, webUrl } from "../page/widgets";
import {
  checkbox,
  field,
  fileList,
  filePicker,
  form,
  input,
  linkButton,
  loaded,
  pageHead,
  select,
  stateChip,
  textarea,
} from "./parts";
import { optionalMoney } from "./request-form";
import type { FileView, Kind, MyListing } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

/** A listing of one's own: new, or edited; goods are uploaded once it is saved (T75). */
export function listingFormPage(store: Store, _scope: Scope, id: string): HTMLElement {
  const load = async () => (id === "new" ? null : await store.api.myListing(id));
  const { element } = loaded(load, (listing, again) =>
    h(
      "div",
      { class: "stack narrow" },
      pageHead(
        listing ? w.desk.edit : w.desk.newListing,
        listing ? h("p", {}, stateChip(listing.state, w.desk.states)) : null,
        listing?.reason ? h("p", { class: "note", dir: "auto" }, listing.reason) : null,
      ),
      h("section", { class: "card" }, new ListingForm(store, listing, again).element),
      listing?.kind === "files" ? goodsCard(store, listing, again) : null,
      listing?.actions.includes("submit") ? submitButton(store, listing) : null,
      linkButton(w.desk.title, "#/desk"),
    ),
  );
  return element;
}

function submitButton(store: Store, { id }: MyListing): HTMLElement {
  const submit = async () => {
    await store.api.moveListing(id, "submit");
    location.hash = "#/desk";
  };
  return button(w.desk.actions.submit, { kind: "primary", testid: "listing-submit", action: submit });
}

type Text = HTMLInputElement | HTMLTextAreaElement;

class ListingForm {
  readonly element: HTMLElement;
  readonly #titles = new Map<string, Text>();
  readonly #texts = new Map<string, Text>();
  readonly #prices = new Map<string, HTMLInputElement>();
  readonly #locales: HTMLInputElement[] = [];
  readonly #kind: HTMLSelectElement;
  readonly #category: HTMLSelectElement;
  readonly #price: HTMLInputElement;
  readonly #days: HTMLInputElement;
  readonly #needs: HTMLTextAreaElement;
  readonly #links: HTMLTextAreaElement;
  readonly #pictures;

  constructor(
    private readonly store: Store,
    private readonly listing: MyListing | null,
    private readonly again: () => Promise<void>,
  ) {
    const { market, categories } = store;
    const revision = listing?.revision;
    const kinds = market.kinds.map((kind) => [kind, w.kinds[kind]] as const);
    this.#kind = select(kinds, listing?.kind ?? market.kinds[0] ?? "work", { testid: "edit-kind" });
    this.#kind.disabled = listing !== null;
    const all = categories.flatMap((category) => [category, ...category.children]);
    const slugs = all.map(({ slug, name }) => [slug, name] as const);
    this.#category = select([["", w.desk.choose], ...slugs], revision?.category ?? "", {
      testid: "edit-category",
    });
    const price = listing?.price ? moneyInput(listing.price.amount, market.currency) : "";
    this.#price = input(price, { inputmode: "decimal", testid: "edit-price" });
    this.#days = input(listing?.delivery_days ? String(listing.delivery_days) : "", {
      inputmode: "numeric",
      testid: "edit-days",
    });
    this.#needs = textarea(revision?.requirements ?? "", { rows: 2, testid: "edit-needs" });
    this.#links = textarea(revision?.links.join("\n") ?? "", { rows: 2, testid: "edit-links" });
    this.#pictures = filePicker(store, "image", w.desk.pictures, keptPictures(listing));
    this.element = form(this.#content(), w.desk.saveDraft, "edit-save", () => this.#save());
  }

  #content(): Child[] {
    const { market } = this.store;
    const unit = formatUnit(market.per_seconds ?? 3_600);
    const tariffs = market.modes.map((mode) => this.#tariffField(mode, unit));
    const parts: [Kind[], HTMLElement][] = [
      [
        ["consult"],
        h("div", { class: "stack" }, ...tariffs, h("p", { class: "muted small" }, w.desk.priceHint)),
      ],
      [["work", "files"], field(`${w.desk.price} (${market.currency})`, this.#price)],
      [["work"], field(w.desk.deliveryDays, this.#days)],
      [["work"], field(w.desk.requirements, this.#needs)],
      [["files"], field(w.desk.links, this.#links)],
    ];
    const fit = () => {
      for (const [kinds, part] of parts) show(part, kinds.includes(this.#kind.value as Kind));
    };
    this.#kind.addEventListener("change", fit);
    fit();
    return [
      field(w.desk.kind, this.#kind),
      field(w.desk.category, this.#category),
      this.#languages(),
      ...parts.map(([, part]) => part),
      this.#pictures.element,
      this.listing === null && market.kinds.includes("files") ? this.#goodsLater() : null,
    ];
  }

  #goodsLater(): HTMLElement {
    const note = h("p", { class: "muted small" }, w.desk.goodsLater);
    const fit = () => show(note, this.#kind.value === "files");
    this.#kind.addEventListener("change", fit);
    fit();
    return note;
  }

  #tariffField(mode: string, unit: string): HTMLElement {
    const tariff = this.listing?.tariffs.find((known) => known.mode === mode);
    const { currency } = this.store.market;
    const control = input(tariff ? moneyInput(tariff.price_minor, currency) : "", {
      inputmode: "decimal",
      testid: `edit-price-${mode}`,
    });
    this.#prices.set(mode, control);
    return field(`${w.desk.pricePer(word(w.modes, mode), unit)} (${currency})`, control);
  }

  /** One or two languages, each with a title and a description (C33). */
  #languages(): HTMLElement {
    const { locales } = this.store.market;
    const revision = this.listing?.revision;
    const chosen = revision?.locales ?? locales.slice(0, 1);
    const parts = locales.map((locale) => {
      const title = input(revision?.title[locale] ?? "", {
        maxlength: 120,
        lang: locale,
        testid: `edit-title-${locale}`,
      });
      const text = textarea(revision?.description[locale] ?? "", {
        maxlength: 8_000,
        lang: locale,
        testid: `edit-description-${locale}`,
      });
      this.#titles.set(locale, title);
      this.#texts.set(locale, text);
      const name = languageNames([locale]);
      const fields = h(
        "div",
        { class: "stack" },
        field(`${w.desk.listingTitle} (${name})`, title),
        field(`${w.desk.description} (${name})`, text),
      );
      const [label, box] = checkbox(name, chosen.includes(locale), {
        value: locale,
        testid: `edit-locale-${locale}`,
      });
      this.#locales.push(box);
      const fit = () => show(fields, box.checked);
      box.addEventListener("change", fit);
      fit();
      return { label, fields };
    });
    return h(
      "fieldset",
      { class: "stack" },
      h("legend", {}, w.desk.languages),
      h("div", { class: "row wrap" }, ...parts.map(({ label }) => label)),
      ...parts.map(({ fields }) => fields),
    );
  }

  async #save(): Promise<void> {
    const { api } = this.store;
    const body = this.#body();
    if (this.listing) {
      await api.editListing(this.listing.id, body);
      toast(w.saved);
      await this.again();
      return;
    }
    const made = await api.createListing({ kind: this.#kind.value, ...body });
    toast(w.saved);
    location.hash = `#/edit/${made.id}`;
  }

  #body(): Record<string, unknown> {
    const kind = this.#kind.value as Kind;
    const { currency } = this.store.market;
    const locales = this.#locales.filter(({ checked }) => checked).map(({ value }) => value);
    const texts = (from: Map<string, Text>) =>
      Object.fromEntries(locales.map((locale) => [locale, from.get(locale)?.value.trim() ?? ""]));
    const body: Record<string, unknown> = {
      locales,
      title: texts(this.#titles),
      description: texts(this.#texts),
      category: this.#category.value,
      images: this.#pictures.ids(),
    };
    if (kind === "consult") {
      const prices = [...this.#prices].map(
        ([mode, { value }]) => [mode, optionalMoney(value, currency)] as const,
      );
      body.tariffs = Object.fromEntries(prices.filter(([, minor]) => minor !== null));
      return body;
    }
    const price = optionalMoney(this.#price.value, currency);
    if (price !== null) body.price_minor = price;
    if (kind === "files") body.links = this.#links.value.split(/\s+/).filter(Boolean);
    else {
      body.requirements = this.#needs.value.trim();
      body.delivery_days = parseCount(this.#days.value) || null;
    }
    return body;
  }
}

function keptPictures(listing: MyListing | null): FileView[] {
  if (!listing) return [];
  const { image_ids, images } = listing.revision;
  return image_ids.map((id, n) => ({
    id,
    name: w.listing.picture(n + 1),
    type: "",
    size: 0,
    url: webUrl(images[n] ?? null) ?? "",
  }));
}

/** Up to so many files (T76); the next one goes behind the last. */
function goodsCard(store: Store, listing: MyListing, again: () => Promise<void>): HTMLElement {
  const { files } = listing.revision;
  const chooser = h("input", { type: "file", testid: "goods-input" });
  const row = (file: FileView, n: number) => {
    const remove = async () => {
      await store.api.deleteListingFile(listing.id, n + 1);
      await again();
    };
    return h(
      "li",
      { class: "row wrap", testid: "goods-file" },
      h("span", { class: "muted" }, w.desk.goodsN(n + 1)),
      fileList([file]),
      button(w.desk.goodsRemove, { kind: "quiet", "aria-label": w.removeFile(file.name), action: remove }),
    );
  };
  const upload = async () => {
    const [file] = chooser.files ?? [];
    if (!file) return chooser.focus();
    const { id } = await store.api.upload(file, "goods");
    await store.api.putListingFile(listing.id, files.length + 1, id);
    await again();
  };
  return h(
    "section",
    { class: "card stack", testid: "goods" },
    h("h2", { class: "card-title" }, w.desk.goods),
    files.length > 0 ? h("ul", { class: "stack" }, ...files.map(row)) : h("p", { class: "muted" }, w.noneYet),
    files.length < store.market.max_files
      ? form([field(w.desk.goodsN(files.length + 1), chooser)], w.desk.goodsAdd, "goods-add", upload)
      : null,
  );
}
