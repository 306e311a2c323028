import assert from "node:assert/strict";
import { test } from "node:test";
import { TalktimeClient, TalktimeError } from "../src/client";
import { FakeEngine, until, withEngine } from "./engine";
import { message, snapshot } from "./samples";

const TIMEOUT = { timeout: 10_000 };

test("a refused token rejects with the engine's code", TIMEOUT, async () => {
  const engine = new FakeEngine();
  const url = await engine.listen();
  const client = new TalktimeClient();
  await assert.rejects(client.connect({ url, token: "bad" }), (error) => {
    assert.ok(error instanceof TalktimeError);
    assert.equal(error.code, "token_invalid");
    assert.equal(error.retryAfterSeconds, 3);
    return true;
  });
  assert.equal(client.connection, "closed");
  await engine.close();
});

test("a refused command rejects with code and details", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.answers["call.invite"] = () => ({
      ok: false,
      code: "insufficient_funds",
      message: "too little",
      shortfall: { amount: 250, currency: "EUR" },
    });
    await assert.rejects(client.invite("ord_1", "video"), (error) => {
      assert.ok(error instanceof TalktimeError);
      assert.equal(error.code, "insufficient_funds");
      assert.equal(error.shortfallMinor, 250);
      return true;
    });
  }),
);

test("a command without a connection rejects at once", async () => {
  await assert.rejects(new TalktimeClient().setPresence("available"), { code: "offline" });
});

test("inviting joins the session", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.answers["call.invite"] = () => ({
      ok: true,
      session_id: "ses_1",
      ring_timeout_s: 60,
      snapshot: snapshot(),
    });
    engine.joinWith(4);
    const session = await client.invite("ord_1", "video", "one_way");
    assert.deepEqual(engine.sent("call.invite"), [
      { order_id: "ord_1", mode: "video", direction: "one_way" },
    ]);
    assert.deepEqual(engine.sent("session.join"), [{ session_id: "ses_1", last_seq: 0 }]);
    assert.equal(session.state, "ringing");
  }),
);

test("events that overtake the answer to a join wait for it", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.answers["session.join"] = () => {
      engine.push("call.accepted", { session_id: "ses_1", seq: 3, reason: null });
      return { ok: true, snapshot: snapshot({ last_seq: 2 }), replayed: 0 };
    };
    const session = client.session("ses_1");
    const states: string[] = [];
    session.on("updated", ({ state }) => states.push(state));
    await session.join();
    await until(() => session.state === "connecting");
    assert.deepEqual(states, ["ringing", "connecting"]);
  }),
);

test("after a lost connection the session asks for what it missed and drops what it knows", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    const session = client.session("ses_1");
    const seen: number[] = [];
    session.on("message", ({ seq }) => seen.push(seq));
    await session.join();
    engine.push("message.created", { session_id: "ses_1", seq: 1, message: message(1) });
    await until(() => seen.length === 1);
    engine.joinWith(2);
    engine.breakConnections();
    await until(() => engine.sent("session.join").length === 2);
    assert.deepEqual(engine.sent("session.join")[1], { session_id: "ses_1", last_seq: 1 });
    await until(() => client.connection === "connected");
    engine.push("message.created", { session_id: "ses_1", seq: 1, message: message(1) });
    engine.push("message.created", { session_id: "ses_1", seq: 2, message: message(2) });
    await until(() => seen.length === 2);
    assert.deepEqual(seen, [1, 2]);
  }),
);

test("a restart that nobody answers means a dead connection: it is made anew", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    await client.session("ses_1").join();
    engine.mute("rtc.restart");
    await assert.rejects(client.send("rtc.restart", { session_id: "ses_1" }));
    await until(() => engine.sent("session.join").length === 2);
    assert.equal(client.connection, "connected");
  }),
);

test("a gap makes the session join again", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    await client.session("ses_1").join();
    engine.push("participant.left", { session_id: "ses_1", seq: 5, role: "expert" });
    await until(() => engine.sent("session.join").length === 2);
    assert.equal(engine.sent("session.join")[1]?.last_seq, 5);
  }),
);

test("a chat message written while offline is sent once, under one id", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    const sent: string[] = [];
    engine.answers["message.send"] = ({ client_msg_id }) => {
      sent.push(String(client_msg_id));
      return { ok: true, message: message(1, "cus"), duplicate: false };
    };
    const session = client.session("ses_1");
    await session.join();
    engine.breakConnections();
    await until(() => client.connection === "reconnecting");
    assert.equal((await session.sendMessage("hello")).seq, 1);
    assert.equal(sent.length, 1);
  }),
);

test("a chat message waits for the clock of a text session to run on", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    engine.answers["message.send"] = () => ({ ok: false, code: "session_paused", message: "wait" });
    const still = snapshot().meter;
    const session = client.session("ses_1");
    await session.join();
    const sending = session.sendMessage("hello");
    await until(() => engine.sent("message.send").length === 1);
    engine.push("meter.paused", { session_id: "ses_1", seq: 1, meter: { ...still, state: "paused" } });
    engine.answers["message.send"] = () => ({ ok: true, message: message(1, "cus"), duplicate: false });
    engine.push("meter.resumed", { session_id: "ses_1", seq: 2, meter: { ...still, state: "running" } });
    assert.equal((await sending).seq, 1);
    assert.equal(engine.sent("message.send").length, 2);
  }),
);

test("a chat message that was refused while the clock ran on already is sent again", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    const running = { ...snapshot().meter, state: "running" as const };
    engine.answers["message.send"] = () => {
      engine.answers["message.send"] = () => ({ ok: true, message: message(1, "cus"), duplicate: false });
      engine.push("meter.resumed", { session_id: "ses_1", seq: 1, meter: running });
      return { ok: false, code: "session_paused", message: "wait" };
    };
    const session = client.session("ses_1");
    await session.join();
    assert.equal((await session.sendMessage("hello")).seq, 1);
    assert.equal(engine.sent("message.send").length, 2);
  }),
);

test("a refused chat message rejects", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    engine.answers["message.send"] = () => ({ ok: false, code: "session_ended", message: "over" });
    const session = client.session("ses_1");
    await session.join();
    await assert.rejects(session.sendMessage("hello"), { code: "session_ended" });
  }),
);

test("a refused chat message can be sent again under its id", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    engine.answers["message.send"] = () => ({ ok: false, code: "store_unavailable", message: "later" });
    const session = client.session("ses_1");
    await session.join();
    await assert.rejects(session.sendMessage("hello", "id-1"), { code: "store_unavailable" });
    engine.answers["message.send"] = () => ({ ok: true, message: message(1, "cus"), duplicate: false });
    assert.equal((await session.sendMessage("hello", "id-1")).seq, 1);
    const ids = engine.sent("message.send").map(({ client_msg_id }) => client_msg_id);
    assert.deepEqual(ids, ["id-1", "id-1"]);
  }),
);

test("experts that are followed are followed again after a reconnect", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    const expert = { expert_id: "exp", online: true, status: "available", callable: true };
    engine.answers["presence.subscribe"] = () => ({ ok: true, experts: [expert] });
    assert.deepEqual(await client.subscribePresence(["exp"]), [expert]);
    const updates: string[] = [];
    client.on("presence.updated", ({ status }) => updates.push(status));
    expert.status = "busy";
    engine.breakConnections();
    await until(() => updates.length === 1);
    assert.deepEqual(updates, ["busy"]);
  }),
);

test("the end of a session reaches its listeners once", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    const session = client.session("ses_1");
    await session.join();
    const reasons: string[] = [];
    session.on("ended", ({ reason }) => reasons.push(reason));
    engine.push("call.declined", { session_id: "ses_1", seq: 1, reason: null });
    engine.push("session.ended", { session_id: "ses_1", seq: 2, summary: { reason: "declined" } });
    engine.push("wallet.updated", {
      seq: 1,
      currency: "EUR",
      available_minor: 0,
      held_minor: 0,
      earned_minor: 0,
    });
    await new Promise<void>((resolve) => client.once("wallet.updated", () => resolve()));
    assert.deepEqual(reasons, ["declined"]);
  }),
);

test("what the engine says of both connections is at hand, and missed figures are no gap", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    const session = client.session("ses_1");
    await session.join();
    const levels: string[] = [];
    session.media.on("quality", (quality) => levels.push(quality));
    const link = { up: null, down: null, rtt_ms: 30, freezes: 0, frozen_ms: 0 };
    const own = { ...link, level: "fair" };
    const other = { ...link, level: "poor" };
    engine.push("quality.updated", { session_id: "ses_1", seq: 3, own, other });
    await until(() => session.media.connections !== null);
    assert.deepEqual(session.media.connections, { own, other });
    assert.deepEqual(levels, ["fair"]);
    assert.equal(engine.sent("session.join").length, 2, "numbers 1 and 2 are missing, not the figures");
    engine.push("quality.updated", { session_id: "ses_1", seq: 3, own: other, other });
    await until(() => levels.length === 2);
    assert.equal(session.media.quality, "poor");
  }),
);

test("a recording that changed is told once, also when it changed while offline", TIMEOUT, () =>
  withEngine(async (engine, client) => {
    engine.joinWith(0);
    const session = client.session("ses_1");
    const told: string[] = [];
    session.on("recording", ({ state, by, reason }) => told.push(`${state} ${by} ${reason}`));
    await session.join();
    const asked = { state: "requested", by: "customer", reason: null } as const;
    engine.push("recording.updated", { session_id: "ses_1", seq: 1, ...asked });
    await until(() => told.length === 1);
    assert.equal(session.snapshot.recording.state, "requested");
    engine.push("track.published", { session_id: "ses_1", seq: 2, role: "expert", kind: "audio" });
    await until(() => session.snapshot.expert.audio);
    const recording = { possible: true, state: "off", by: "expert", reason: "declined" } as const;
    engine.answers["session.join"] = () => ({ ok: true, snapshot: snapshot({ last_seq: 3, recording }) });
    engine.breakConnections();
    await until(() => told.length === 2);
    assert.deepEqual(told, ["requested customer null", "off expert declined"]);
  }),
);
