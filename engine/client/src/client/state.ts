import type { EndReason, Party, Role, ServerEvents, SessionSummary, Snapshot } from "./wire";

/** Events that change what a snapshot shows. */
export type StateEvent = keyof Pick<
  ServerEvents,
  | "session.updated"
  | "participant.joined"
  | "participant.left"
  | "track.published"
  | "track.unpublished"
  | "recording.updated"
  | "call.accepted"
  | "call.declined"
  | "call.canceled"
  | "call.no_answer"
  | "session.ended"
>;

type Reducers = { [N in StateEvent]: (snapshot: Snapshot, event: ServerEvents[N]) => Snapshot };

const REDUCERS: Reducers = {
  "session.updated": (snapshot, { state, direction, customer, expert }) => ({
    ...snapshot,
    state,
    direction,
    customer,
    expert,
  }),
  "participant.joined": (snapshot, { role }) => withParty(snapshot, role, { connected: true }),
  "participant.left": (snapshot, { role }) => withParty(snapshot, role, { connected: false }),
  "track.published": (snapshot, { role, kind }) => withParty(snapshot, role, { [kind]: true }),
  "track.unpublished": (snapshot, { role, kind }) => withParty(snapshot, role, { [kind]: false }),
  "recording.updated": (snapshot, { state, by, reason }) => ({
    ...snapshot,
    recording: { ...snapshot.recording, state, by, reason },
  }),
  "call.accepted": (snapshot) =>
    snapshot.state === "ringing" ? { ...snapshot, state: "connecting" } : snapshot,
  "call.declined": (snapshot) => unanswered(snapshot, "declined", "expert"),
  "call.canceled": (snapshot) => unanswered(snapshot, "canceled", "customer"),
  "call.no_answer": (snapshot) => unanswered(snapshot, "no_answer", "system"),
  "session.ended": (snapshot, { summary }) => ({ ...snapshot, state: "ended", summary }),
};

/** The snapshot after an event; the same object when the event changes nothing of it. */
export function applyEvent(snapshot: Snapshot, name: string, event: unknown): Snapshot {
  if (!(name in REDUCERS)) return snapshot;
  return (REDUCERS[name as StateEvent] as (snapshot: Snapshot, event: unknown) => Snapshot)(snapshot, event);
}

function withParty(snapshot: Snapshot, role: Role, change: Partial<Party>): Snapshot {
  return { ...snapshot, [role]: { ...snapshot[role], ...change } };
}

/** A call that ended before it was answered moved no money. */
function unanswered(snapshot: Snapshot, reason: EndReason, by: SessionSummary["ended_by"]): Snapshot {
  if (snapshot.summary) return snapshot;
  const summary: SessionSummary = {
    reason,
    ended_by: by,
    billed_seconds: 0,
    blocks: 0,
    total_minor: 0,
    currency: snapshot.meter.currency,
    receipt_url: null,
    can_review: false,
    earned_minor: null,
  };
  return { ...snapshot, state: "ended", summary };
}
