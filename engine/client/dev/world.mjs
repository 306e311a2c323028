// People, listings, orders and money of the preview, and the REST answers made of them.

export const options = {
  /** How fast the pretended meter runs. */
  speed: 1,
  /** Whether the bot answers calls, and after how many milliseconds. */
  answers: true,
  answer_after_ms: 2500,
  latency_ms: 60,
};

const CURRENCY = "EUR";
const money = (amount) => ({ amount, currency: CURRENCY });
const tariff = (mode, price_minor, more = {}) => ({
  mode,
  currency: CURRENCY,
  price_minor,
  per_seconds: 900,
  block_seconds: 900,
  block_price_minor: price_minor,
  prepaid_seconds: 900,
  prepay_minor: price_minor,
  grace_seconds: mode === "text" ? 0 : 60,
  ...more,
});
const perSecond = {
  per_seconds: 3600,
  block_seconds: 1,
  block_price_minor: 2,
  prepaid_seconds: 300,
  prepay_minor: 600,
};

const expert = (id, display_name, headline, languages, online, status) => ({
  id,
  slug: id,
  display_name,
  headline,
  languages,
  online,
  status,
  callable: online && (status === "available" || status === "away"),
});

const EXPERTS = [
  expert(
    "usr_expert",
    "Marit Kask",
    "Employment lawyer, 14 years at the bar",
    ["et", "en", "ru"],
    true,
    "available",
  ),
  expert(
    "usr_e2",
    "Oleh Bondarenko",
    "Psychologist, cognitive behavioural therapy",
    ["uk", "en"],
    true,
    "away",
  ),
  expert(
    "usr_e3",
    "Selin Aydın",
    "Tax adviser for freelancers and small companies",
    ["tr", "de"],
    true,
    "busy",
  ),
  expert("usr_e4", "Navid Rahimi", "Mathematics tutor", ["fa", "en"], false, "undefined"),
];

const listing = (id, expertIndex, category, title, description, tariffs) => ({
  id,
  title,
  description,
  category,
  kind: "consult",
  expert: EXPERTS[expertIndex],
  tariffs,
});

const LISTINGS = [
  listing(
    "lst_1",
    0,
    "Law",
    "Employment contracts and dismissals",
    "Bring your contract or the letter you received. We read it together and you leave with a clear plan: what to sign, what to refuse and which deadlines matter.",
    [tariff("video", 1200), tariff("audio", 1000), tariff("text", 700)],
  ),
  listing(
    "lst_2",
    1,
    "Psychology",
    "First conversation about anxiety and sleep",
    "A calm first session to understand what is going on and whether therapy would help you.",
    [tariff("video", 3000, perSecond), tariff("text", 1500)],
  ),
  listing(
    "lst_3",
    2,
    "Taxes",
    "Your first tax return as a freelancer",
    "Deductions, advance payments, VAT: ask what you need, screen by screen.",
    [tariff("video", 1900)],
  ),
  listing(
    "lst_4",
    3,
    "Education",
    "Linear algebra before the exam",
    "We solve the exercises that you are stuck on, step by step, at your pace.",
    [tariff("video", 600), tariff("audio", 500)],
  ),
];

export const users = {
  customer: {
    id: "usr_customer",
    email: "customer@demo.talktime.test",
    display_name: "Jonas Berg",
    roles: ["member"],
    locale: "en",
    presence_status: null,
  },
  expert: {
    id: "usr_expert",
    email: "expert@demo.talktime.test",
    display_name: "Marit Kask",
    roles: ["expert", "member"],
    locale: "en",
    presence_status: "available",
  },
};

const wallets = {
  customer: { available: 3050, held: 0, earned: 0 },
  expert: { available: 0, held: 0, earned: 18420 },
};
export const orders = [];
const topUps = new Map();
export const endedSessions = [];
/** Told when something changed that clients hear about. */
export const hooks = { wallet: () => undefined };

export function roleOfToken(token) {
  return token === "customer" || token === "expert" ? token : null;
}

export function wallet(role) {
  const { available, held, earned } = wallets[role];
  return { available: money(available), held: money(held), earned: money(earned) };
}

export function move(role, change) {
  for (const [name, minor] of Object.entries(change)) wallets[role][name] += minor;
  hooks.wallet(role, wallets[role]);
}

export function setOptions(change) {
  const { balance_minor, status, ...rest } = change;
  Object.assign(options, rest);
  if (balance_minor !== undefined) {
    wallets.customer.available = balance_minor;
    hooks.wallet("customer", wallets.customer);
  }
  if (status) Object.assign(EXPERTS[0], { status, callable: status === "available" || status === "away" });
  return options;
}

export const expertCard = () => EXPERTS[0];
export const expertById = (id) => EXPERTS.find((one) => one.id === id);

function orderView(order, role) {
  const { held_minor, captured_minor, ...rest } = order;
  const open = order.state === "open" || order.state === "pending_payment";
  return {
    ...rest,
    role,
    held: money(held_minor),
    captured: money(captured_minor),
    can_call: order.state === "open" && !order.live_session_id && expertById(order.expert.id).callable,
    can_cancel: role === "customer" && open && !order.live_session_id,
  };
}

let numbers = 1041;

export function addOrder(listing_, mode, state) {
  const chosen = listing_.tariffs.find((one) => one.mode === mode);
  const order = {
    id: `ord_${++numbers}`,
    number: `T-${numbers}`,
    title: listing_.title,
    listing_id: listing_.id,
    mode,
    state,
    closed_reason: null,
    customer: { id: users.customer.id, display_name: users.customer.display_name },
    expert: { id: listing_.expert.id, display_name: listing_.expert.display_name },
    tariff: chosen,
    held_minor: state === "open" ? chosen.prepay_minor : 0,
    captured_minor: 0,
    metered_sessions: 0,
    live_session_id: null,
    conversation_id: `con_${numbers}`,
    created_at: new Date().toISOString(),
  };
  orders.unshift(order);
  return order;
}

class Problem extends Error {
  constructor(status, code, title, extra = {}) {
    super(title);
    Object.assign(this, { status, body: { type: "about:blank", title, status, code, ...extra } });
  }
}

function pay(order) {
  const missing = order.tariff.prepay_minor - wallets.customer.available;
  if (missing > 0) {
    const extra = { shortfall: money(missing), order_id: order.id };
    throw new Problem(402, "insufficient_funds", "The balance is too small.", extra);
  }
  move("customer", { available: -order.tariff.prepay_minor, held: order.tariff.prepay_minor });
  Object.assign(order, { state: "open", held_minor: order.tariff.prepay_minor });
}

function listingView(one) {
  const mine = orders.filter((order) => order.listing_id === one.id);
  return { ...one, my_orders: mine.map(({ id, number, mode, state }) => ({ id, number, mode, state })) };
}

const find = (list, id) => {
  const found = list.find((one) => one.id === id);
  if (!found) throw new Problem(404, "not_found", "There is no such thing.");
  return found;
};
const page = (items) => ({ items, next_cursor: null });

const ROUTES = [
  ["GET", /^\/me$/, ({ role }) => users[role]],
  ["GET", /^\/listings/, () => page(LISTINGS.map(listingView))],
  [
    "GET",
    /^\/orders$/,
    ({ role, query }) => page(query.get("role") === role ? orders.map((one) => orderView(one, role)) : []),
  ],
  ["GET", /^\/orders\/(\w+)$/, ({ role, match }) => orderView(find(orders, match[1]), role)],
  [
    "GET",
    /^\/orders\/(\w+)\/sessions$/,
    ({ match }) => page(endedSessions.filter((one) => one.order_id === match[1])),
  ],
  [
    "POST",
    /^\/orders$/,
    ({ body, role }) => {
      const order = addOrder(find(LISTINGS, body.listing_id), body.mode, "pending_payment");
      if (body.confirm) pay(order);
      return orderView(order, role);
    },
  ],
  [
    "POST",
    /^\/orders\/(\w+)\/(pay|cancel)$/,
    ({ match, role }) => {
      const order = find(orders, match[1]);
      if (match[2] === "pay") pay(order);
      else {
        move("customer", { available: order.held_minor, held: -order.held_minor });
        Object.assign(order, { state: "cancelled", held_minor: 0 });
      }
      return orderView(order, role);
    },
  ],
  ["GET", /^\/wallet$/, ({ role }) => wallet(role)],
  [
    "POST",
    /^\/wallet\/top-ups$/,
    ({ body }) => {
      const id = `top_${topUps.size + 1}`;
      const checkout_url = `/test-checkout/ref_${id}`;
      const amount = money(body.amount_minor);
      topUps.set(id, {
        id,
        amount,
        state: "pending",
        provider: "test",
        checkout_url,
        created_at: new Date().toISOString(),
      });
      return topUps.get(id);
    },
  ],
  ["GET", /^\/wallet\/top-ups\/(\w+)$/, ({ match }) => topUps.get(match[1])],
  [
    "POST",
    /^\/test-payments\/ref_(\w+)$/,
    ({ match, body, role }) => {
      const topUp = topUps.get(match[1]);
      topUp.state = body.outcome === "succeed" ? "succeeded" : "failed";
      if (topUp.state === "succeeded") move(role, { available: topUp.amount.amount });
      return topUp;
    },
  ],
];

/** The answer to a request below /api/v1. */
export function handleRest(method, path, body, token) {
  const url = new URL(path, "http://preview");
  try {
    if (url.pathname === "/auth/login") return { status: 200, answer: login(body) };
    const role = roleOfToken(token);
    if (!role) throw new Problem(401, "token_invalid", "Who are you?");
    for (const [verb, pattern, handler] of ROUTES) {
      const match = verb === method && pattern.exec(url.pathname);
      if (match) return { status: 200, answer: handler({ role, match, body, query: url.searchParams }) };
    }
    throw new Problem(404, "not_found", "There is no such thing.");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return { status: error.status, answer: error.body };
  }
}

function login({ email, password }) {
  const role = Object.keys(users).find((name) => users[name].email === email);
  if (!role || password !== "demo-talktime")
    throw new Problem(401, "invalid_credentials", "Wrong e-mail or password.");
  return { access_token: role, token_type: "Bearer", expires_in: 3600, user: users[role] };
}
