import type { Attachment } from "../client";
import { openDialog } from "../page/dialog";
import { append, type Child, h, type Props, setText } from "../page/dom";
import { formatMoney, formatSize } from "../page/format";
import { formatNumber } from "../page/language";
import { errorText, toastError } from "../page/notices";
import type { Money } from "../page/rest";
import type { Scope } from "../page/signal";
import { t, word } from "../page/strings";
import { avatar, busyWhile, button, priceText, webUrl } from "../page/widgets";
import type { Purpose } from "./api";
import type { ExpertCard, FileView, Listing } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

let ids = 0;

/** An id that no other element of the page has. */
export function freshId(stem: string): string {
  return `${stem}-${++ids}`;
}

/** The page's heading; the tab is named after it. */
export function pageHead(title: string, ...more: Child[]): HTMLElement {
  document.title = title;
  const head = h("div", { class: "page-head" }, h("h1", { tabindex: "-1", dir: "auto" }, title));
  append(head, more);
  return head;
}

/**
 * For what is loaded again and again: of loads that overlap, an answer counts unless a load that began later
 * has been answered already.
 */
export function turns(): () => () => boolean {
  let begun = 0;
  let shown = 0;
  return () => {
    const turn = ++begun;
    return () => {
      if (turn < shown) return false;
      shown = turn;
      return true;
    };
  };
}

export interface Loaded {
  element: HTMLElement;
  /** Loads and draws again; what is there stays until then. */
  again: () => Promise<void>;
}

/** A place that shows what `load` brings, or why it did not come and a second try. */
export function loaded<T>(
  load: () => Promise<T>,
  draw: (value: T, again: () => Promise<void>) => Child,
): Loaded {
  const element = h("div", { "aria-busy": "true" }, h("p", { class: "muted", role: "status" }, w.loading));
  const begin = turns();
  const again = async () => {
    const counts = begin();
    try {
      const value = await load();
      if (!counts()) return;
      const drawn = draw(value, again);
      element.replaceChildren();
      append(element, [drawn]);
    } catch (error) {
      if (!counts()) return;
      const retry = button(t.retry, { action: again });
      element.replaceChildren(
        h("div", { class: "empty", role: "alert" }, h("p", {}, errorText(error)), retry),
      );
    } finally {
      element.removeAttribute("aria-busy");
    }
  };
  void again();
  return { element, again };
}

export function money({ amount, currency }: Money): string {
  return formatMoney(amount, currency);
}

/** "from €3.00" needs no more than the number: what a listing costs at least, or its first tariff. */
export function listingPrice(listing: Listing): string {
  if (listing.price) return money(listing.price);
  const [first] = listing.tariffs;
  return first ? priceText(first) : money(listing.price_from);
}

export function photo(card: ExpertCard, size: "medium" | "large" = "large"): HTMLElement {
  if (!card.photo_url) return avatar(card.display_name, card.id, size);
  return h("img", { class: `avatar avatar-${size} photo`, src: webUrl(card.photo_url), alt: "" });
}

export function stars(rating: number | null, count?: number): HTMLElement {
  if (rating === null) return h("span", { class: "stars muted small" }, w.noReviews);
  const figure = ratingFigure(rating);
  return h(
    "span",
    { class: "stars" },
    h("span", { class: "star", "aria-hidden": "true" }, "★"),
    h("span", { "aria-hidden": "true" }, figure),
    h("span", { class: "visually-hidden" }, w.stars(figure)),
    count === undefined ? null : h("span", { class: "muted small" }, ` ${w.reviews(count)}`),
  );
}

/** The expert's rating, said to be that: a listing has none of its own. */
export function expertStars({
  rating,
  review_count,
}: Pick<ExpertCard, "rating" | "review_count">): HTMLElement {
  if (rating === null) return stars(null);
  const figure = ratingFigure(rating);
  return h(
    "span",
    { class: "stars", testid: "expert-rating" },
    h(
      "span",
      { class: "stars", "aria-hidden": "true" },
      h("span", { class: "muted small" }, w.expert.expertRating),
      h("span", { class: "star" }, "★"),
      h("span", {}, figure),
      h("span", { class: "muted small" }, `(${formatNumber(review_count)})`),
    ),
    h("span", { class: "visually-hidden" }, w.expert.ratingOf(figure, review_count)),
  );
}

function ratingFigure(rating: number): string {
  return formatNumber(rating, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
}

/** A dot and a word that follow the expert's presence live. */
export function presenceLine(store: Store, scope: Scope, expert: ExpertCard): HTMLElement {
  const word = h("span");
  const line = h("p", { class: "presence", testid: "presence" }, h("span", { class: "dot" }), word);
  store.presence.watch(scope, (known) => {
    const { online, status } = known.get(expert.id) ?? expert;
    const shown = online ? status : "offline";
    line.dataset.status = shown;
    setText(word, t.presence[shown]);
  });
  return line;
}

/** What somebody wrote, in whichever direction it reads. */
export function prose(text: string, lang?: string): HTMLElement {
  return h("p", { class: "prose", dir: "auto", lang }, text);
}

type Control = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

/** A control with its label, and a hint that screen readers read with it. */
export function field(label: string, control: Control, hint?: string): HTMLElement {
  control.id ||= freshId("field");
  const note = hint ? h("p", { class: "muted small", id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

export function input(value: string, props: Props = {}): HTMLInputElement {
  const element = h("input", { autocomplete: "off", dir: "auto", ...props });
  element.value = value;
  return element;
}

export function textarea(value: string, props: Props = {}): HTMLTextAreaElement {
  const element = h("textarea", { rows: 4, dir: "auto", ...props });
  element.value = value;
  return element;
}

export function select(
  options: readonly (readonly [value: string, label: string])[],
  value: string,
  props: Props = {},
): HTMLSelectElement {
  const element = h("select", props, ...options.map(([key, label]) => h("option", { value: key }, label)));
  element.value = value;
  return element;
}

export function checkbox(
  label: string,
  checked: boolean,
  props: Props = {},
): [HTMLElement, HTMLInputElement] {
  const box = h("input", { type: "checkbox", checked, ...props });
  return [h("label", { class: "check" }, box, h("span", {}, label)), box];
}

/** A form whose button is disabled while `send` runs; what it throws is shown in the form. */
export function form(content: Child[], label: string, testid: string, send: () => unknown): HTMLFormElement {
  const failure = h("p", { class: "form-error", role: "alert" });
  const submit = button(label, { kind: "primary", type: "submit", testid });
  const attempt = async () => {
    setText(failure, "");
    try {
      await send();
    } catch (error) {
      setText(failure, errorText(error));
    }
  };
  const onSubmit = (event: Event) => {
    event.preventDefault();
    void busyWhile(submit, attempt);
  };
  const element = h("form", { class: "form", novalidate: true, on: { submit: onSubmit } });
  append(element, [...content, failure, h("footer", { class: "dialog-actions" }, submit)]);
  return element;
}

export function fileList(files: readonly (FileView | Attachment)[], testid = "file"): HTMLElement | null {
  if (files.length === 0) return null;
  return h(
    "ul",
    { class: "files" },
    ...files.map(({ name, url, size }) =>
      h(
        "li",
        {},
        h("a", { href: webUrl(url), download: name, testid, dir: "auto" }, name),
        h("span", { class: "muted small" }, ` ${formatSize(size)}`),
      ),
    ),
  );
}

export interface Picker {
  element: HTMLElement;
  ids: () => string[];
  clear: () => void;
}

/** Uploads what is chosen at once; `ids` are those of what arrived and was kept. */
export function filePicker(store: Store, purpose: Purpose, label: string, kept: FileView[] = []): Picker {
  let files = [...kept];
  const list = h("ul", { class: "files", "aria-live": "polite" });
  const chooser = h("input", { type: "file", multiple: true, testid: "file-input" });
  if (purpose === "image" || purpose === "photo") chooser.accept = "image/*";
  const draw = () => list.replaceChildren(...files.map(row));
  const row = (file: FileView) => {
    const cross = button("×", { kind: "quiet", class: "small", "aria-label": w.removeFile(file.name) });
    cross.addEventListener("click", () => {
      files = files.filter((one) => one !== file);
      draw();
    });
    return h("li", { class: "row", testid: "picked-file" }, h("span", { dir: "auto" }, file.name), cross);
  };
  chooser.addEventListener("change", async () => {
    for (const file of [...(chooser.files ?? [])]) {
      const waiting = h("li", { class: "muted" }, w.uploading(file.name));
      list.append(waiting);
      try {
        files = [...files, await store.api.upload(file, purpose)];
      } catch (error) {
        toastError(error);
      }
      draw();
    }
    chooser.value = "";
  });
  draw();
  const element = h("div", { class: "picker" }, field(label, chooser), list);
  const clear = () => {
    files = [];
    draw();
  };
  return { element, ids: () => files.map(({ id }) => id), clear };
}

export interface Question {
  title: string;
  label?: string;
  text?: string;
  confirm: string;
  danger?: boolean;
  required?: boolean;
  value?: string;
}

/** Asks for a text, or without `label` just whether it is meant; runs `act` and closes when it went well. */
export function askDialog(question: Question, act: (text: string) => Promise<unknown>): Promise<void> {
  const { title, label, text, confirm, danger = false, required = false, value = "" } = question;
  const answer = label ? textarea(value, { testid: "ask-text", "data-autofocus": true, required }) : null;
  const failure = h("p", { class: "form-error", role: "alert" });
  const go = button(confirm, {
    kind: danger ? "danger" : "primary",
    testid: "ask-confirm",
    action: async () => {
      if (required && answer?.value.trim() === "") return answer.focus();
      try {
        await act(answer?.value.trim() ?? "");
        dialog.close();
      } catch (error) {
        setText(failure, errorText(error));
      }
    },
  });
  const dialog = openDialog(
    title,
    "ask-dialog",
    text ? h("p", {}, text) : null,
    label && answer ? field(label, answer) : null,
    failure,
    h(
      "footer",
      { class: "dialog-actions" },
      button(t.cancel, { kind: "quiet", action: () => dialog.close() }),
      go,
    ),
  );
  return dialog.closed;
}

export function stateChip(state: string, words: Readonly<Record<string, string>>): HTMLElement {
  return h("span", { class: "chip state", "data-state": state }, word(words, state));
}

/** A button that is a link. */
export function linkButton(label: string, href: string, props: Props = {}): HTMLElement {
  const kind = props.class ?? "secondary";
  return h("a", { ...props, class: `button ${kind}`, href }, label);
}
