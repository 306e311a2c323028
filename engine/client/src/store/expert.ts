import { h } from "../page/dom";
import { formatDateTime, formatDuration, formatList, languageNames } from "../page/format";
import { formatNumber } from "../page/language";
import type { Scope } from "../page/signal";
import { button, fact } from "../page/widgets";
import { card } from "./find";
import { blockButton, heart, reportButton } from "./marks";
import { askDialog, expertStars, loaded, pageHead, photo, presenceLine, prose, stars } from "./parts";
import type { Expert, Review, ReviewPage } from "./rest";
import type { Store } from "./store";
import { weekGrid } from "./week";
import { w } from "./words";

/** An expert's page: who it is, when they can be reached, what they offer, what customers say. */
export function expertPage(store: Store, scope: Scope, slug: string): HTMLElement {
  const load = () => Promise.all([store.api.expert(slug, store.locale), store.api.reviews("experts", slug)]);
  const { element } = loaded(load, ([expert, reviews], again) => {
    store.watchExperts([expert.card]);
    return h(
      "div",
      { class: "stack" },
      head(store, scope, expert),
      about(store, expert),
      h(
        "section",
        { class: "stack" },
        h("h2", {}, w.expert.listings),
        h("div", { class: "listings" }, ...expert.listings.map((listing) => card(store, scope, listing))),
      ),
      reviewList(store, reviews, () => void again()),
      store.user?.id === expert.id ? null : complaints(store, expert),
    );
  });
  return element;
}

function head(store: Store, scope: Scope, { card: who, display_name }: Expert): HTMLElement {
  return h(
    "div",
    { class: "expert-head" },
    photo(who),
    h(
      "div",
      { class: "grow" },
      pageHead(display_name, h("p", { class: "muted", dir: "auto" }, who.headline)),
      h("p", { class: "row wrap" }, expertStars(who), presenceLine(store, scope, who)),
    ),
    heart(store, scope, "expert", who.id, display_name),
  );
}

function complaints(store: Store, { id, display_name }: Expert): HTMLElement {
  return h(
    "p",
    { class: "row wrap" },
    reportButton(store, "expert", id, w.expert.report),
    blockButton(store, id, display_name),
  );
}

/** Profile with skills and the 7x24 grid, in the viewer's own time zone (T5, T9). */
export function about(store: Store, expert: Expert): HTMLElement {
  const { card: who, availability } = expert;
  const part = (title: string, text: string) => (text ? h("div", {}, h("h3", {}, title), prose(text)) : null);
  return h(
    "section",
    { class: "card stack", testid: "expert-about" },
    part(w.expert.about, expert.about),
    part(w.expert.education, expert.education),
    part(w.expert.experience, expert.experience),
    expert.skills.length > 0 ? skills(expert) : null,
    h(
      "dl",
      { class: "facts facts-row" },
      fact(w.expert.languages, languageNames(expert.languages)),
      fact(w.find.category, formatList(expert.categories.map((slug) => store.categoryName(slug)))),
      fact(w.expert.completed, formatNumber(who.completed_orders)),
      fact(w.expert.refusals, formatNumber(who.refusal_count)),
      who.response_s === null
        ? h("div", { hidden: true })
        : fact(w.expert.response, formatDuration(who.response_s)),
    ),
    h(
      "div",
      {},
      h("h3", {}, w.expert.week),
      weekGrid(availability.grid),
      h("p", { class: "muted small" }, w.expert.zone(availability.timezone)),
    ),
  );
}

function skills(expert: Expert): HTMLElement {
  const chips = expert.skills.map((skill) => h("span", { class: "chip", dir: "auto" }, skill));
  return h("div", {}, h("h3", {}, w.expert.skills), h("p", { class: "chips" }, ...chips));
}

export function reviewList(store: Store, page: ReviewPage, changed: () => void): HTMLElement {
  const { summary, items } = page;
  return h(
    "section",
    { class: "stack" },
    h("h2", {}, w.listing.reviews),
    summary.review_count > 0
      ? h(
          "p",
          { class: "row wrap" },
          `${w.expert.serviceRating} `,
          stars(summary.service_milli / 1_000),
          `${w.expert.expertRating} `,
          stars(summary.rating_milli / 1_000, summary.review_count),
        )
      : h("p", { class: "muted" }, w.noReviews),
    ...items.map((review) => reviewCard(store, review, changed)),
  );
}

export function reviewCard(store: Store, review: Review, changed: () => void): HTMLElement {
  const reply = () =>
    askDialog(
      { title: w.review.replyDo, label: w.review.replyAsk, confirm: w.send, required: true },
      async (text) => {
        await store.api.replyToReview(review.id, text);
        changed();
      },
    );
  return h(
    "article",
    { class: "card review", testid: "review" },
    h(
      "p",
      { class: "row wrap" },
      h("strong", {}, review.customer_name),
      h("span", { class: "muted small" }, formatDateTime(review.created_at)),
    ),
    h(
      "p",
      { class: "row wrap" },
      `${w.review.service} `,
      stars(review.rating_service),
      `${w.review.expert} `,
      stars(review.rating_expert),
    ),
    review.text ? prose(review.text) : null,
    review.reply
      ? h(
          "blockquote",
          { class: "reply" },
          h("p", { class: "muted small" }, w.review.reply),
          prose(review.reply),
        )
      : null,
    review.can_reply ? button(w.review.replyDo, { testid: "review-reply", action: reply }) : null,
  );
}
