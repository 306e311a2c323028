/**
 * The wire of namespace `/rt` as the engine defines it (engine/signaling/messages.py).
 * Money is integer minor units, times of a session are integer milliseconds unless the name says otherwise.
 */

export type Mode = "video" | "audio" | "text";
export type Direction = "one_way" | "two_way";
export type Role = "customer" | "expert";
export type MediaKind = "audio" | "video";
export type PresenceStatus = "available" | "away" | "busy" | "undefined";
export type SessionState = "ringing" | "connecting" | "in_progress" | "ended";
export type MeterState = "idle" | "armed" | "grace" | "running" | "paused" | "ended";

export interface Party {
  user_id: string;
  display_name: string;
  connected: boolean;
  audio: boolean;
  video: boolean;
}

/** A file of a message; GET /api/v1/files/{id} opens it. */
export interface Attachment {
  id: string;
  name: string;
  /** By content. */
  type: string;
  /** Bytes. */
  size: number;
  /** In answers of REST: a path that opens it without a bearer token, for some minutes. */
  url: string | null;
}

export interface Message {
  id: string;
  conversation_id: string;
  session_id: string | null;
  seq: number;
  /** null: the system. */
  author_id: string | null;
  kind: string;
  body: string;
  client_msg_id: string | null;
  created_at: string;
  files: Attachment[];
  /** What was hidden in it: card, email, handle, link, phone. Its author sees all but cards. */
  masked: string[];
}

/** A statement of the meter; between statements the view runs on by itself (meter.ts). */
export interface MeterView {
  state: MeterState;
  elapsed_ms: number;
  charged_minor: number;
  billed_blocks: number;
  currency: string;
  block_seconds: number;
  /** `price_minor` buys `per_seconds`. */
  price_minor: number;
  per_seconds: number;
  seconds_left: number | null;
  next_charge_in_ms: number | null;
  grace_left_ms: number | null;
  balance_minor: number | null;
  earned_minor: number | null;
  commission_bps: number | null;
}

export type EndReason =
  | "completed"
  | "void"
  | "insufficient_funds"
  | "disconnected"
  | "failed"
  | "idle"
  | "terminated"
  | "server_restart"
  | "no_answer"
  | "declined"
  | "canceled";

export interface SessionSummary {
  reason: EndReason;
  ended_by: "customer" | "expert" | "system" | "staff";
  billed_seconds: number;
  blocks: number;
  total_minor: number;
  currency: string;
  receipt_url: string | null;
  can_review: boolean;
  earned_minor: number | null;
}

export interface Snapshot {
  session_id: string;
  order_id: string;
  conversation_id: string;
  title: string;
  role: Role;
  mode: Mode;
  direction: Direction;
  state: SessionState;
  customer: Party;
  expert: Party;
  meter: MeterView;
  last_seq: number;
  ring_expires_in_ms: number | null;
  summary: SessionSummary | null;
  recording: RecordingView;
}

/** `possible`: this call may be recorded if both agree; `by`: whose doing the state is. */
export interface RecordingView {
  possible: boolean;
  state: "off" | "requested" | "recording" | "stopped" | "failed";
  by: Role | null;
  reason: string | null;
}

export interface IceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

export type Level = "unknown" | "good" | "fair" | "poor";

/** Media of one hop over the last seconds; `loss` is a share. null: nothing to tell it from. */
export interface HopFigures {
  bitrate_bps: number;
  loss: number | null;
  jitter_ms: number | null;
}

/** One party's connection: `up` to the engine, `down` back; null: not to be told. */
export interface LinkQuality {
  level: Level;
  up: HopFigures | null;
  down: HopFigures | null;
  rtt_ms: number | null;
  /** Of the picture that this party is sent, over the last seconds. */
  freezes: number;
  frozen_ms: number;
}

/** What every server event carries beside its own fields. */
export interface Stamp {
  v: 1;
  seq: number;
  at: string;
}

type InSession = { session_id: string };
type CallState = InSession & { reason: string | null };
type TrackChanged = InSession & { role: Role; kind: MediaKind };
type ParticipantChanged = InSession & { role: Role };
type Paused = InSession & { reason: "no_media" | "disconnected"; meter: MeterView };

/** Every event the server sends, by name. */
export interface ServerEvents {
  "presence.updated": { expert_id: string; online: boolean; status: PresenceStatus; callable: boolean };
  "call.incoming": InSession & {
    order_id: string;
    title: string;
    from_name: string;
    mode: Mode;
    direction: Direction;
    alert: "sound" | "silent";
    expires_in_ms: number;
  };
  "call.pending": { count: number };
  "call.ringing": CallState;
  "call.accepted": CallState;
  "call.declined": CallState;
  "call.canceled": CallState;
  "call.no_answer": CallState;
  "session.updated": InSession & {
    state: SessionState;
    direction: Direction;
    customer: Party;
    expert: Party;
  };
  "participant.joined": ParticipantChanged;
  "participant.left": ParticipantChanged;
  "track.published": TrackChanged;
  "track.unpublished": TrackChanged;
  "recording.updated": InSession & Omit<RecordingView, "possible">;
  "rtc.offer": InSession & { leg_id: string; sdp: string; ice_servers: IceServer[] };
  "meter.started": InSession & { trigger: "first_frame" | "second_message"; meter: MeterView };
  "meter.tick": InSession & { meter: MeterView };
  "meter.charged": InSession & {
    block: number;
    amount_minor: number;
    meter: MeterView;
    fee_minor: number | null;
  };
  "meter.low_balance": InSession & { seconds_left: number; shortfall_minor: number };
  "meter.paused": Paused;
  "meter.resumed": Paused;
  "session.ended": InSession & { summary: SessionSummary };
  "message.created": { session_id: string | null; message: Message; order_id: string | null };
  "message.read": { conversation_id: string; user_id: string; seq: number };
  /** Outside of a session, `session_id` and `role` are null. */
  typing: {
    session_id: string | null;
    role: Role | null;
    typing: boolean;
    conversation_id: string;
    user_id: string;
    order_id: string | null;
  };
  "quality.updated": InSession & { own: LinkQuality; other: LinkQuality };
  "wallet.updated": { currency: string; available_minor: number; held_minor: number; earned_minor: number };
  "notification.created": {
    id: string;
    type: string;
    subject_type: string;
    subject_id: string;
    data: Record<string, unknown>;
  };
  error: { code: string; message: string; session_id: string | null };
}

export type ServerEventName = keyof ServerEvents;
export type ServerEvent<N extends ServerEventName> = ServerEvents[N] & Stamp;
export type PresenceView = ServerEvents["presence.updated"];
export type IncomingCall = ServerEvents["call.incoming"];

export const SERVER_EVENTS: readonly ServerEventName[] = [
  "presence.updated",
  "call.incoming",
  "call.pending",
  "call.ringing",
  "call.accepted",
  "call.declined",
  "call.canceled",
  "call.no_answer",
  "session.updated",
  "participant.joined",
  "participant.left",
  "track.published",
  "track.unpublished",
  "recording.updated",
  "rtc.offer",
  "meter.started",
  "meter.tick",
  "meter.charged",
  "meter.low_balance",
  "meter.paused",
  "meter.resumed",
  "session.ended",
  "message.created",
  "message.read",
  "typing",
  "quality.updated",
  "wallet.updated",
  "notification.created",
  "error",
];

/** Sent once, never replayed after a reconnect: they may leave a gap in a session's `seq`. */
export const TRANSIENT_EVENTS: ReadonlySet<string> = new Set(["rtc.offer", "typing", "quality.updated"]);

type Nothing = Record<string, never>;
/** A message belongs into a live session, where it may count for money, or into a conversation. */
type Place = InSession | { conversation_id: string };

/** Commands: what is sent, and what the ack carries beside `ok`. */
export interface Commands {
  "presence.set": [{ status: PresenceStatus }, { status: PresenceStatus; effective: PresenceStatus }];
  "presence.subscribe": [{ expert_ids: string[] }, { experts: PresenceView[] }];
  "presence.unsubscribe": [{ expert_ids: string[] }, { experts: PresenceView[] }];
  "call.invite": [
    { order_id: string; mode: Mode; direction: Direction },
    { session_id: string; ring_timeout_s: number; snapshot: Snapshot },
  ];
  "call.accept": [InSession, { snapshot: Snapshot }];
  "call.decline": [InSession, Nothing];
  "call.cancel": [InSession, Nothing];
  "session.join": [InSession & { last_seq: number }, { snapshot: Snapshot; replayed: number }];
  "session.start": [InSession, { snapshot: Snapshot }];
  "session.end": [InSession, { summary: SessionSummary }];
  "session.direction": [InSession & { direction: Direction }, Nothing];
  "rtc.answer": [InSession & { leg_id: string; sdp: string }, Nothing];
  "rtc.restart": [InSession, Nothing];
  "track.update": [InSession & { audio: boolean; video: boolean }, Nothing];
  "recording.request": [InSession, Nothing];
  "recording.consent": [InSession & { consent: boolean }, Nothing];
  "recording.stop": [InSession, Nothing];
  "message.send": [
    Place & { client_msg_id: string; body: string; files?: string[] },
    { message: Message; duplicate: boolean; warning: string | null },
  ];
  "message.read": [{ conversation_id: string; seq: number }, Nothing];
  "message.history": [
    { conversation_id: string; before_seq: number | null; limit: number },
    { messages: Message[]; more: boolean },
  ];
  typing: [Place & { typing: boolean }, Nothing];
}

export type CommandName = keyof Commands;
export type CommandBody<N extends CommandName> = Commands[N][0];
export type CommandAnswer<N extends CommandName> = Commands[N][1];
