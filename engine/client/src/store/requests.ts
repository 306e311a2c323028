import type { Role } from "../client";
import { h } from "../page/dom";
import { formatDateTime } from "../page/format";
import { formatNumber } from "../page/language";
import { toast } from "../page/notices";
import type { Scope } from "../page/signal";
import { word } from "../page/strings";
import { button } from "../page/widgets";
import { askDialog, fileList, linkButton, loaded, money, pageHead, prose, stateChip } from "./parts";
import { offerDialog, requestDialog } from "./request-form";
import type { Proposal, WorkRequest } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

type Again = () => Promise<void>;

/** What the user asked for and, of experts, what they are asked for. */
export function requestsPage(store: Store, scope: Scope): HTMLElement {
  const create = button(w.requests.create, {
    kind: "primary",
    testid: "new-request",
    action: () => requestDialog(store),
  });
  return h(
    "div",
    { class: "stack narrow" },
    pageHead(w.requests.title),
    h("div", {}, create),
    store.isExpert ? list(store, scope, "expert", w.requests.toMe) : null,
    list(store, scope, "customer", w.requests.mine),
  );
}

function list(store: Store, scope: Scope, role: Role, title: string): HTMLElement {
  const { element, again } = loaded(
    () => store.api.requests(role),
    ({ items }) =>
      items.length === 0
        ? h("p", { class: "muted" }, w.noneYet)
        : h("ul", { class: "stack" }, ...items.map((request) => row(request))),
  );
  store.onNews(scope, ["request", "proposal"], () => void again());
  return h("section", { class: "stack" }, h("h2", {}, title), element);
}

function row(request: WorkRequest): HTMLElement {
  const [own] = request.proposals;
  const state = request.role === "expert" && own ? own.state : request.state;
  const offers = request.proposals.filter(({ price }) => price !== null).length;
  const about = [
    request.role === "expert" ? w.requests.from(request.customer.display_name) : null,
    request.budget ? `${w.requests.budget} ${money(request.budget)}` : null,
    request.role === "customer" ? `${w.requests.offers}: ${formatNumber(offers)}` : null,
    w.requests.deadline(formatDateTime(request.deadline)),
  ];
  return h(
    "li",
    { class: "card order-row", testid: "request", "data-id": request.id, "data-state": request.state },
    h(
      "div",
      { class: "grow" },
      h(
        "h3",
        { class: "order-title", dir: "auto" },
        h("a", { class: "plain", href: `#/request/${request.id}`, testid: "request-link" }, request.title),
      ),
      h("p", { class: "muted small" }, about.filter(Boolean).join(" · ")),
    ),
    stateChip(state, w.requests.states),
  );
}

/** One request with its offers side by side; experts see their own alone. */
export function requestPage(store: Store, scope: Scope, id: string): HTMLElement {
  const { element, again } = loaded(
    () => store.api.workRequest(id),
    (request, redraw) => details(store, request, redraw),
  );
  store.onNews(scope, ["request", "proposal"], () => void again());
  return element;
}

function details(store: Store, request: WorkRequest, again: Again): HTMLElement {
  const offers = request.proposals;
  return h(
    "div",
    { class: "stack", testid: "request-detail", "data-state": request.state, "data-id": request.id },
    pageHead(
      request.title,
      h(
        "p",
        { class: "row wrap" },
        stateChip(request.state, w.requests.states),
        h("span", { class: "muted" }, w.requests.deadline(formatDateTime(request.deadline))),
        request.budget
          ? h("span", { class: "muted" }, `${w.requests.budget}: ${money(request.budget)}`)
          : null,
      ),
    ),
    h(
      "section",
      { class: "card stack" },
      request.role === "expert"
        ? h("p", { class: "muted" }, w.requests.from(request.customer.display_name))
        : null,
      prose(request.body),
      fileList(request.files),
    ),
    request.order_id
      ? h(
          "div",
          {},
          linkButton(w.requests.toOrder, `#/order/${request.order_id}`, {
            class: "primary",
            testid: "to-order",
          }),
        )
      : null,
    h("h2", {}, w.requests.offers),
    offers.length === 0 ? h("p", { class: "muted" }, w.requests.noOffers) : null,
    h("div", { class: "offers" }, ...offers.map((offer) => offerCard(store, request, offer, again))),
    requestActions(store, request, again),
  );
}

function requestActions(store: Store, request: WorkRequest, again: Again): HTMLElement {
  const [own] = request.proposals;
  const offered = own?.by === "expert" && own.state === "pending";
  const offer = () =>
    offerDialog(store, w.requests.offer, own ?? null, async (body) => {
      const { warning } = await store.api.offer(request.id, body);
      toast(warning ?? w.requests.offered);
      await again();
    });
  const cancel = () =>
    askDialog({ title: w.requests.cancel, confirm: w.requests.cancel, danger: true }, async () => {
      await store.api.cancelRequest(request.id);
      await again();
    });
  const label = offered ? w.requests.change : w.requests.offer;
  return h(
    "div",
    { class: "row wrap" },
    request.can_offer ? button(label, { kind: "primary", testid: "make-offer", action: offer }) : null,
    request.actions.includes("cancel")
      ? button(w.requests.cancel, { kind: "quiet", testid: "cancel-request", action: cancel })
      : null,
  );
}

function offerCard(store: Store, request: WorkRequest, offer: Proposal, again: Again): HTMLElement {
  const wish = request.role === "customer" ? w.requests.byCustomer : w.requests.byCustomerForExpert;
  return h(
    "article",
    { class: "card stack offer", testid: "offer", "data-id": offer.id, "data-state": offer.state },
    h(
      "p",
      { class: "row wrap" },
      h("strong", { class: "grow" }, offer.expert.display_name),
      stateChip(offer.state, w.requests.states),
    ),
    offer.by === "customer" ? h("p", { class: "note small" }, wish) : null,
    offer.price ? h("p", { class: "figure", testid: "offer-amount" }, money(offer.price)) : null,
    offer.delivery_days ? h("p", { class: "muted" }, w.days(offer.delivery_days)) : null,
    offer.note ? prose(offer.note) : null,
    offer.reason ? prose(offer.reason) : null,
    h(
      "footer",
      { class: "row wrap" },
      ...offer.actions.map((action) => offerAction(store, offer, action, again)),
      offer.conversation_id ? linkButton(w.requests.messages, `#/talk/${offer.conversation_id}`) : null,
    ),
  );
}

function offerAction(store: Store, offer: Proposal, action: string, again: Again): HTMLElement {
  const label = word(w.requests.actions, action);
  const props = { testid: `offer-${action}` };
  if (action === "accept") {
    const accept = async () => {
      const { order_id } = await store.api.onProposal(offer.id, action);
      if (order_id) location.hash = `#/order/${order_id}`;
      else await again();
    };
    return button(label, { ...props, kind: "primary", action: accept });
  }
  if (action === "counter") {
    const counter = () =>
      offerDialog(store, label, offer, async (body) => {
        await store.api.onProposal(offer.id, action, body);
        await again();
      });
    return button(label, { ...props, action: counter });
  }
  const act = async () => {
    await store.api.onProposal(offer.id, action);
    await again();
  };
  return button(label, { ...props, kind: "quiet", action: act });
}
