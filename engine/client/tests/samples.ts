import type { Message, Snapshot } from "../src/client/wire";

export function snapshot(change: Partial<Snapshot> = {}): Snapshot {
  const party = (user_id: string) => ({
    user_id,
    display_name: user_id,
    connected: true,
    audio: false,
    video: false,
  });
  return {
    session_id: "ses_1",
    order_id: "ord_1",
    conversation_id: "con_1",
    title: "A consultation",
    role: "customer",
    mode: "video",
    direction: "two_way",
    state: "ringing",
    customer: party("cus"),
    expert: party("exp"),
    meter: {
      state: "idle",
      elapsed_ms: 0,
      charged_minor: 0,
      billed_blocks: 0,
      currency: "EUR",
      block_seconds: 900,
      price_minor: 1200,
      per_seconds: 900,
      seconds_left: null,
      next_charge_in_ms: null,
      grace_left_ms: null,
      balance_minor: 0,
      earned_minor: null,
      commission_bps: null,
    },
    last_seq: 0,
    recording: { possible: false, state: "off", by: null, reason: null },
    ring_expires_in_ms: null,
    summary: null,
    ...change,
  };
}

export function message(seq: number, author = "exp"): Message {
  return {
    id: `msg_${seq}`,
    conversation_id: "con_1",
    session_id: "ses_1",
    seq,
    author_id: author,
    kind: "text",
    body: `message ${seq}`,
    client_msg_id: null,
    created_at: "2026-01-01T00:00:00Z",
    files: [],
    masked: [],
  };
}
