// Calls of the preview: ringing, a meter by wall clock, chat. Media is the browser's own (peer.js).
import {
  endedSessions,
  expertById,
  expertCard,
  hooks,
  move,
  options,
  orders,
  roleOfToken,
  setOptions,
  users,
  wallet,
} from "./world.mjs";

const FEE_PERCENT = 15;
const sessions = new Map();
const logs = new Map();
let namespace;
let count = 0;

export function attachCalls(io) {
  namespace = io.of("/rt");
  namespace.use((socket, next) => {
    const role = roleOfToken(socket.handshake.auth.token);
    if (role) socket.data.role = role;
    next(
      role
        ? undefined
        : Object.assign(new Error("token_invalid"), {
            data: { code: "token_invalid", message: "Who are you?" },
          }),
    );
  });
  namespace.on("connection", (socket) => {
    socket.join(`user:${socket.data.role}`);
    for (const [name, command] of Object.entries(COMMANDS)) {
      socket.on(name, (body, ack) => ack?.(run(command, body, socket)));
    }
    // The pretended media plane of this tab speaks through the same socket namespace.
    socket.on("dev.peer", () => {
      for (const { id, mode, state } of sessions.values()) {
        if (state !== "ended" && mode !== "text") socket.emit("dev.join", { session_id: id, mode });
      }
    });
    socket.on("dev.offer", ({ session_id, leg_id, sdp }) =>
      tell(session_id, socket.data.role, "rtc.offer", { session_id, leg_id, sdp, ice_servers: [] }),
    );
  });
  hooks.wallet = (role, { available, held, earned }) =>
    push(role, "wallet.updated", {
      currency: "EUR",
      available_minor: available,
      held_minor: held,
      earned_minor: earned,
    });
  setInterval(tick, 500);
}

class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

function run(command, body, socket) {
  try {
    return { ok: true, ...command(body, socket.data.role, socket) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { ok: false, code: error.code, message: error.message };
  }
}

const push = (role, name, body, seq = 1) =>
  namespace.to(`user:${role}`).emit(name, { v: 1, seq, at: new Date().toISOString(), ...body });
const online = (role) => (namespace.adapter.rooms.get(`user:${role}`)?.size ?? 0) > 0;

function tell(sessionId, role, name, body) {
  const session = sessions.get(sessionId);
  session.seq[role] += 1;
  push(role, name, { session_id: sessionId, ...body }, session.seq[role]);
}

function tellBoth(session, name, bodyOf) {
  for (const role of ["customer", "expert"]) tell(session.id, role, name, bodyOf(role));
}

function sessionOf({ session_id }) {
  const session = sessions.get(session_id);
  if (!session) throw new Refusal("session_not_found", "There is no such session.");
  return session;
}

// Meter -----------------------------------------------------------------------------------------

function view(session, role) {
  const { tariff } = session.order;
  const block = tariff.block_seconds * 1000;
  const elapsed = session.elapsed_ms;
  const graceMs = session.first ? tariff.grace_seconds * 1000 : 0;
  const inGrace = session.meter === "grace";
  const paidMs =
    Math.max(session.blocks, 1) * block + Math.floor(session.wallet() / tariff.block_price_minor) * block;
  return {
    state: session.meter,
    elapsed_ms: elapsed,
    charged_minor: session.charged,
    billed_blocks: session.blocks,
    currency: "EUR",
    block_seconds: tariff.block_seconds,
    block_price_minor: tariff.block_price_minor,
    seconds_left:
      session.meter === "idle" || session.meter === "armed"
        ? paidMs / 1000
        : Math.max(0, (paidMs - elapsed) / 1000),
    next_charge_in_ms: inGrace
      ? graceMs - elapsed
      : session.meter === "running"
        ? session.blocks * block - elapsed
        : null,
    grace_left_ms: inGrace ? graceMs - elapsed : null,
    balance_minor: role === "customer" ? session.wallet() : null,
    earned_minor: role === "expert" ? session.earned : null,
  };
}

function tick() {
  const nowMs = Date.now();
  for (const session of sessions.values()) {
    if (session.state === "ended") continue;
    const passed = (nowMs - session.tickedAtMs) * options.speed;
    session.tickedAtMs = nowMs;
    if (session.meter === "grace" || session.meter === "running") advance(session, passed);
  }
}

function advance(session, passedMs) {
  session.elapsed_ms += passedMs;
  const { tariff } = session.order;
  const graceMs = session.first ? tariff.grace_seconds * 1000 : 0;
  if (session.meter === "grace" && session.elapsed_ms <= graceMs) return statement(session);
  session.meter = "running";
  while (session.elapsed_ms > session.blocks * tariff.block_seconds * 1000) {
    if (!charge(session)) return end(session, "insufficient_funds", "system");
  }
  warn(session);
  statement(session);
}

function statement(session) {
  if (options.speed === 1 && Date.now() - session.statedAtMs < 5000) return;
  session.statedAtMs = Date.now();
  tellBoth(session, "meter.tick", (role) => ({ meter: view(session, role) }));
}

function charge(session) {
  const price = session.order.tariff.block_price_minor;
  if (session.order.held_minor >= price) {
    session.order.held_minor -= price;
    move("customer", { held: -price });
  } else if (session.wallet() >= price) move("customer", { available: -price });
  else return false;
  const fee = Math.round((price * FEE_PERCENT) / 100);
  session.blocks += 1;
  session.charged += price;
  session.earned += price - fee;
  session.order.captured_minor += price;
  move("expert", { earned: price - fee });
  tellBoth(session, "meter.charged", (role) => ({
    block: session.blocks,
    amount_minor: price,
    fee_minor: role === "expert" ? fee : null,
    meter: view(session, role),
  }));
  return true;
}

function warn(session) {
  const left = view(session, "customer").seconds_left;
  if (left > 120 || session.warned) {
    session.warned = left <= 120;
    return;
  }
  session.warned = true;
  const shortfall = session.order.tariff.block_price_minor - session.wallet();
  tell(session.id, "customer", "meter.low_balance", {
    seconds_left: left,
    shortfall_minor: Math.max(1, shortfall),
  });
}

export function startMeter(session, trigger) {
  session.meter = session.first && session.order.tariff.grace_seconds > 0 ? "grace" : "running";
  session.tickedAtMs = Date.now();
  session.statedAtMs = Date.now();
  if (session.meter === "running") charge(session);
  tellBoth(session, "meter.started", (role) => ({ trigger, meter: view(session, role) }));
}

// Sessions --------------------------------------------------------------------------------------

function snapshot(session, role) {
  const { id, order, mode, direction, state, customer, expert, summary, seq, recording } = session;
  return {
    session_id: id,
    order_id: order.id,
    conversation_id: order.conversation_id,
    title: order.title,
    role,
    mode,
    direction,
    state,
    customer,
    expert,
    meter: view(session, role),
    last_seq: seq[role],
    ring_expires_in_ms: state === "ringing" ? 60_000 : null,
    summary: summary && summaryFor(session, role),
    recording: { possible: mode !== "text", ...recording },
  };
}

const summaryFor = (session, role) => ({
  ...session.summary,
  earned_minor: role === "expert" ? session.earned : null,
});

function changed(session) {
  const { state, direction, customer, expert } = session;
  tellBoth(session, "session.updated", () => ({ state, direction, customer, expert }));
}

function end(session, reason, by) {
  if (session.state === "ended") return;
  const wasVoid = reason === "completed" && session.meter === "grace";
  session.state = "ended";
  session.meter = "ended";
  session.order.live_session_id = null;
  session.summary = {
    reason: wasVoid ? "void" : reason,
    ended_by: by,
    billed_seconds: wasVoid ? 0 : Math.round(session.elapsed_ms / 1000),
    blocks: session.blocks,
    total_minor: session.charged,
    currency: "EUR",
    receipt_url: ["no_answer", "declined", "canceled"].includes(reason) ? null : `/receipt/${session.id}`,
    can_review: !wasVoid,
  };
  remember(session);
  tellBoth(session, "session.ended", (role) => ({ summary: summaryFor(session, role) }));
  push("expert", "call.pending", { count: ringing().length });
}

function remember({ id, order, mode, summary, elapsed_ms, rungAt }) {
  if (elapsed_ms > 0) order.metered_sessions += 1;
  endedSessions.push({
    id,
    order_id: order.id,
    ordinal: order.metered_sessions,
    mode,
    state: "ended",
    end_reason: summary.reason,
    ended_by: summary.ended_by,
    rung_at: rungAt,
    metered_at: rungAt,
    ended_at: new Date().toISOString(),
    billed_seconds: summary.billed_seconds,
    blocks: summary.blocks,
    total: { amount: summary.total_minor, currency: "EUR" },
    receipt_url: summary.receipt_url,
  });
}

const ringing = () => [...sessions.values()].filter((session) => session.state === "ringing");

function invite({ order_id, mode, direction }) {
  const order = orders.find((one) => one.id === order_id);
  const party = ({ id, display_name }) => ({
    user_id: id,
    display_name,
    connected: true,
    audio: false,
    video: false,
  });
  const session = {
    id: `ses_${++count}${Math.random().toString(36).slice(2, 8)}`,
    order,
    mode,
    direction,
    state: "ringing",
    meter: "idle",
    customer: party(users.customer),
    expert: party(order.expert),
    first: order.metered_sessions === 0,
    elapsed_ms: 0,
    charged: 0,
    earned: 0,
    blocks: 0,
    customerMessages: 0,
    summary: null,
    recording: { state: "off", by: null, reason: null },
    warned: false,
    rungAt: new Date().toISOString(),
    tickedAtMs: Date.now(),
    statedAtMs: 0,
    seq: { customer: 0, expert: 0 },
    wallet: () => wallet("customer").available.amount,
  };
  sessions.set(session.id, session);
  order.live_session_id = session.id;
  ring(session);
  return { session_id: session.id, ring_timeout_s: 60, snapshot: snapshot(session, "customer") };
}

function ring(session) {
  const { order, mode, direction } = session;
  tell(session.id, "expert", "call.incoming", {
    order_id: order.id,
    title: order.title,
    from_name: users.customer.display_name,
    mode,
    direction,
    alert: expertCard().status === "available" ? "sound" : "silent",
    expires_in_ms: 60_000,
  });
  push("expert", "call.pending", { count: ringing().length });
  if (!online("expert") && options.answers) setTimeout(() => botAnswers(session), options.answer_after_ms);
}

function botAnswers(session) {
  if (session.state !== "ringing") return;
  accept(session);
  if (session.mode !== "text") setTimeout(() => begin(session), 1200);
}

function accept(session) {
  session.state = session.mode === "text" ? "in_progress" : "connecting";
  session.meter = "armed";
  tellBoth(session, "call.accepted", () => ({ reason: null }));
  changed(session);
  push("expert", "call.pending", { count: ringing().length });
}

function begin(session) {
  if (session.state !== "connecting") return;
  session.state = "in_progress";
  Object.assign(session.expert, { audio: true, video: session.mode === "video" });
  changed(session);
  setTimeout(() => startMeter(session, "first_frame"), 700);
}

function say(session, author, body, clientId = null) {
  const log = logs.get(session.order.conversation_id) ?? [];
  logs.set(session.order.conversation_id, log);
  const known = log.find((one) => clientId && one.client_msg_id === clientId);
  if (known) return { message: known, duplicate: true };
  const message = {
    id: `msg_${log.length}`,
    conversation_id: session.order.conversation_id,
    session_id: session.id,
    seq: log.length + 1,
    author_id: author,
    kind: author ? "text" : "system",
    body,
    client_msg_id: clientId,
    created_at: new Date().toISOString(),
  };
  log.push(message);
  tellBoth(session, "message.created", () => ({ message }));
  return { message, duplicate: false };
}

function customerSaid(session) {
  session.customerMessages += 1;
  if (session.mode === "text" && session.customerMessages === 2) startMeter(session, "second_message");
  if (online("expert")) return;
  const conversation_id = session.order.conversation_id;
  setTimeout(
    () =>
      push("customer", "message.read", {
        conversation_id,
        user_id: session.expert.user_id,
        seq: logs.get(conversation_id).length,
      }),
    500,
  );
  setTimeout(() => tell(session.id, "customer", "typing", { role: "expert", typing: true }), 900);
  setTimeout(
    () => say(session, session.expert.user_id, BOT_LINES[session.customerMessages % BOT_LINES.length]),
    2600,
  );
}

const BOT_LINES = [
  "I see. Could you tell me the date on the letter?",
  "Hello! I have read what you sent. What would you like to know first?",
  "That is good news: the notice period was too short, so you can object within 30 days.\n\nI would write to them today and keep a copy.",
];

function setTrack(session, role, { audio, video }) {
  const party = session[role];
  for (const [kind, on] of Object.entries({ audio, video })) {
    if (party[kind] === on) continue;
    party[kind] = on;
    tellBoth(session, on ? "track.published" : "track.unpublished", () => ({ role, kind }));
  }
  return {};
}

/** Pretended, as all here: nothing is written anywhere. A bot agrees. */
function record(session, state, by, reason = null) {
  session.recording = { state, by, reason };
  tellBoth(session, "recording.updated", () => session.recording);
  if (state !== "requested" || by !== "customer" || online("expert")) return;
  setTimeout(() => session.recording.state === "requested" && record(session, "recording", "expert"), 1500);
}

const COMMANDS = {
  "presence.set": ({ status }) => {
    setOptions({ status });
    users.expert.presence_status = status;
    const { online: isOnline, callable } = expertCard();
    push("customer", "presence.updated", { expert_id: expertCard().id, online: isOnline, status, callable });
    return { status, effective: status };
  },
  "presence.subscribe": ({ expert_ids }) => ({
    experts: expert_ids
      .map(expertById)
      .filter(Boolean)
      .map(({ id, online, status, callable }) => ({ expert_id: id, online, status, callable })),
  }),
  "presence.unsubscribe": () => ({ experts: [] }),
  "call.invite": invite,
  "call.accept": (body, role) => {
    const session = sessionOf(body);
    accept(session);
    return { snapshot: snapshot(session, role) };
  },
  "call.decline": (body) => end(sessionOf(body), "declined", "expert") ?? {},
  "call.cancel": (body) => end(sessionOf(body), "canceled", "customer") ?? {},
  "session.join": (body, role) => {
    const session = sessionOf(body);
    if (session.mode !== "text") push(role, "dev.join", { session_id: session.id, mode: session.mode });
    return { snapshot: snapshot(session, role), replayed: 0 };
  },
  "session.start": (body, role) => {
    begin(sessionOf(body));
    return { snapshot: snapshot(sessionOf(body), role) };
  },
  "session.end": (body, role) => {
    const session = sessionOf(body);
    end(session, session.meter === "armed" ? "canceled" : "completed", role);
    return { summary: summaryFor(session, role) };
  },
  "session.direction": ({ direction, ...body }) => {
    const session = sessionOf(body);
    session.direction = direction;
    changed(session);
    return {};
  },
  "rtc.answer": (body, _role, socket) =>
    namespace.to(`user:${socket.data.role}`).emit("dev.answer", body) && {},
  "rtc.restart": () => ({}),
  "track.update": (body, role) => setTrack(sessionOf(body), role, body),
  "recording.request": (body, role) => {
    const session = sessionOf(body);
    const { state, by } = session.recording;
    if (state === "requested" && by !== role) record(session, "recording", role);
    else if (state !== "requested" && state !== "recording") record(session, "requested", role);
    return {};
  },
  "recording.consent": ({ consent, ...body }, role) => {
    const session = sessionOf(body);
    const { state, by } = session.recording;
    if (state !== "requested" || by === role) return {};
    if (consent) record(session, "recording", role);
    else record(session, "off", role, "declined");
    return {};
  },
  "recording.stop": (body, role) => {
    const session = sessionOf(body);
    const { state, by } = session.recording;
    if (state === "recording") record(session, "stopped", role);
    if (state === "requested") record(session, "off", role, by === role ? "withdrawn" : "declined");
    return {};
  },
  "message.send": ({ client_msg_id, body, ...rest }, role) => {
    const session = sessionOf(rest);
    const sent = say(session, users[role].id, body, client_msg_id);
    if (role === "customer" && !sent.duplicate) setTimeout(() => customerSaid(session), 10);
    return sent;
  },
  "message.read": ({ conversation_id, seq }, role) => {
    push(role === "customer" ? "expert" : "customer", "message.read", {
      conversation_id,
      user_id: users[role].id,
      seq,
    });
    return {};
  },
  "message.history": ({ conversation_id }) => ({ messages: logs.get(conversation_id) ?? [], more: false }),
  typing: ({ typing, ...body }, role) => {
    tell(sessionOf(body).id, role === "customer" ? "expert" : "customer", "typing", { role, typing });
    return {};
  },
  // From the pretended media plane: which scenario to show.
  "dev.pause": ({ paused, reason, ...body }) => {
    const session = sessionOf(body);
    session.meter = paused ? "paused" : "running";
    tellBoth(session, paused ? "meter.paused" : "meter.resumed", (role) => ({
      reason,
      meter: view(session, role),
    }));
    return {};
  },
};
