import { asTalktimeError } from "../client/errors";
import { h } from "../page/dom";
import { formatDateTime, parseMoney } from "../page/format";
import { toast } from "../page/notices";
import type { Scope } from "../page/signal";
import { button } from "../page/widgets";
import { ownZone } from "./api";
import { joinPage } from "./join";
import {
  askDialog,
  checkbox,
  field,
  filePicker,
  form,
  input,
  linkButton,
  loaded,
  money,
  pageHead,
  stateChip,
  textarea,
} from "./parts";
import type { MyExpert, MyListing, Payout, PayoutDetails } from "./rest";
import type { Store } from "./store";
import { weekGrid } from "./week";
import { w } from "./words";

type Again = () => Promise<void>;

/** The expert's desk: listings, profile, availability, payouts; calls are on the call page. */
export function deskPage(store: Store, scope: Scope): HTMLElement {
  if (!store.isExpert) return joinPage(store);
  return h(
    "div",
    { class: "stack" },
    pageHead(w.desk.title),
    store.market.modes.length > 0
      ? h(
          "section",
          { class: "card row wrap" },
          h("p", { class: "grow muted" }, w.desk.callsHint),
          linkButton(w.desk.calls, "/#/desk", { class: "secondary" }),
        )
      : null,
    listingsCard(store),
    weekCard(store),
    profileCard(store),
    payoutsCard(store, scope),
  );
}

function listingsCard(store: Store): HTMLElement {
  const { element } = loaded(store.api.myListings, ({ items }, again) =>
    items.length === 0
      ? h("p", { class: "muted" }, w.noneYet)
      : h("ul", {}, ...items.map((listing) => listingRow(store, listing, again))),
  );
  return h(
    "section",
    { class: "card stack" },
    h(
      "div",
      { class: "row wrap" },
      h("h2", { class: "grow" }, w.desk.listings),
      linkButton(w.desk.newListing, "#/edit/new", { class: "primary", testid: "new-listing" }),
    ),
    element,
  );
}

function listingRow(store: Store, listing: MyListing, again: Again): HTMLElement {
  const { revision } = listing;
  const title = revision.title[revision.locales[0] ?? ""] ?? "";
  const waits = listing.state === "published" && revision.number !== listing.published_revision;
  const move = (action: string) => async () => {
    if (action === "archive") {
      const label = w.desk.actions.archive;
      return askDialog({ title: label, text: title, confirm: label, danger: true }, async () => {
        await store.api.archiveListing(listing.id);
        await again();
      });
    }
    await store.api.moveListing(listing.id, action);
    await again();
  };
  const moves = Object.entries(w.desk.actions).filter(([action]) => listing.actions.includes(action));
  return h(
    "li",
    { class: "sale", testid: "my-listing", "data-id": listing.id, "data-state": listing.state },
    h(
      "div",
      { class: "grow" },
      h("p", { class: "strong", dir: "auto" }, title),
      h(
        "p",
        { class: "muted small row wrap" },
        `${w.kinds[listing.kind]} · ${w.desk.orderCount(listing.order_count)}`,
      ),
      listing.reason ? h("p", { class: "note small", dir: "auto" }, listing.reason) : null,
      waits ? h("p", { class: "muted small" }, w.desk.revisionWaits) : null,
    ),
    stateChip(listing.state, w.desk.states),
    listing.actions.includes("edit")
      ? linkButton(w.desk.edit, `#/edit/${listing.id}`, {
          testid: "edit-listing",
          "aria-label": `${w.desk.edit}: ${title}`,
        })
      : null,
    ...moves.map(([action, label]) =>
      button(label, {
        kind: action === "submit" ? "primary" : "quiet",
        testid: `listing-${action}`,
        "aria-label": `${label}: ${title}`,
        action: move(action),
      }),
    ),
  );
}

function weekCard(store: Store): HTMLElement {
  const { element } = loaded(store.api.availability, (week) => {
    let grid = week.grid;
    const zone = input(week.timezone === "UTC" ? ownZone() : week.timezone, { testid: "timezone" });
    const save = async () => {
      await store.api.setAvailability({ grid, timezone: zone.value.trim() });
      toast(w.saved);
    };
    const content = [
      weekGrid(grid, (changed) => {
        grid = changed;
      }),
      h("p", { class: "muted small" }, w.desk.weekHint),
      field(w.desk.zone, zone),
    ];
    return form(content, w.save, "week-save", save);
  });
  return h("section", { class: "card stack" }, h("h2", {}, w.desk.week), element);
}

function profileCard(store: Store): HTMLElement {
  const { element } = loaded(store.api.myExpert, (profile, again) => profileForm(store, profile, again));
  return h("section", { class: "card stack" }, h("h2", {}, w.desk.profile), element);
}

function profileForm(store: Store, profile: MyExpert, again: Again): HTMLElement {
  const headline = input(profile.headline, { maxlength: 160, testid: "profile-headline" });
  const about = textarea(profile.about, { testid: "profile-about" });
  const education = textarea(profile.education, { rows: 2 });
  const experience = textarea(profile.experience, { rows: 2 });
  const skills = input(profile.skills.join(", "), { testid: "profile-skills" });
  const languages = input(profile.languages.join(", "));
  const [activeLabel, active] = checkbox(w.desk.active, profile.active);
  const slugs = store.categories.flatMap((category) => [category, ...category.children]);
  const boxes = slugs.map(({ slug, name }) =>
    checkbox(name, profile.categories.includes(slug), { value: slug }),
  );
  const picker = filePicker(store, "photo", w.desk.photo);
  const content = [
    field(w.desk.headline, headline),
    field(w.desk.about, about),
    field(w.desk.education, education),
    field(w.desk.experience, experience),
    field(w.desk.skills, skills),
    field(w.desk.spoken, languages),
    h(
      "fieldset",
      {},
      h("legend", {}, w.desk.categories),
      h("div", { class: "row wrap" }, ...boxes.map(([label]) => label)),
    ),
    picker.element,
    activeLabel,
  ];
  return form(content, w.save, "profile-save", async () => {
    const [photo] = picker.ids().slice(-1);
    await store.api.editExpert({
      headline: headline.value.trim(),
      about: about.value.trim(),
      education: education.value.trim(),
      experience: experience.value.trim(),
      skills: listOf(skills.value),
      languages: listOf(languages.value),
      categories: boxes.filter(([, box]) => box.checked).map(([, box]) => box.value),
      active: active.checked,
      ...(photo ? { photo_file_id: photo } : {}),
    });
    toast(w.saved);
    await again();
  });
}

function listOf(text: string): string[] {
  return text
    .split(",")
    .map((one) => one.trim())
    .filter(Boolean);
}

function payoutsCard(store: Store, scope: Scope): HTMLElement {
  const load = async () => {
    const [details, page] = await Promise.all([
      store.api.payoutDetails().catch((error) => {
        if (asTalktimeError(error).code !== "payout_details_missing") throw error;
        return { holder: "", iban: "" };
      }),
      store.api.payouts(),
    ]);
    return { details, payouts: page.items };
  };
  const { element } = loaded(load, ({ details, payouts }, again) =>
    h(
      "div",
      { class: "stack" },
      payoutForm(store, again),
      payouts.length === 0
        ? h("p", { class: "muted" }, w.desk.noPayouts)
        : h("ul", {}, ...payouts.map((payout) => payoutRow(store, payout, again))),
      h("h3", {}, w.desk.payoutDetails),
      bankForm(store, details),
    ),
  );
  const earned = h("strong", { testid: "earned" });
  store.wallet.watch(scope, (wallet) => {
    earned.textContent = wallet ? money(wallet.earned) : "";
  });
  return h(
    "section",
    { class: "card stack" },
    h("h2", {}, w.desk.payouts),
    h("p", {}, `${w.desk.earned}: `, earned),
    element,
  );
}

function payoutForm(store: Store, again: Again): HTMLElement {
  const { currency } = store.market;
  const amount = input("", { inputmode: "decimal", testid: "payout-amount" });
  const send = async () => {
    const minor = parseMoney(amount.value, currency);
    if (minor === null) throw new Error(w.amountWrong);
    await store.api.requestPayout(minor);
    await again();
  };
  return form([field(`${w.desk.payoutAmount} (${currency})`, amount)], w.desk.payoutAsk, "payout-ask", send);
}

function bankForm(store: Store, details: PayoutDetails): HTMLElement {
  const holder = input(details.holder, { autocomplete: "name", testid: "payout-holder" });
  const iban = input(details.iban, { testid: "payout-iban" });
  return form([field(w.desk.holder, holder), field(w.desk.iban, iban)], w.save, "payout-save", async () => {
    await store.api.setPayoutDetails({ holder: holder.value.trim(), iban: iban.value.trim() });
    toast(w.saved);
  });
}

function payoutRow(store: Store, payout: Payout, again: Again): HTMLElement {
  const cancel = async () => {
    await store.api.cancelPayout(payout.id);
    await again();
  };
  return h(
    "li",
    { class: "sale", testid: "payout", "data-state": payout.state },
    h("strong", { class: "grow" }, money(payout.amount)),
    h("span", { class: "muted small" }, `${payout.iban} · ${formatDateTime(payout.created_at)}`),
    payout.failure ? h("span", { class: "warn small" }, payout.failure) : null,
    stateChip(payout.state, w.desk.payoutStates),
    payout.actions.includes("cancel") ? button(w.desk.payoutCancel, { kind: "quiet", action: cancel }) : null,
  );
}
