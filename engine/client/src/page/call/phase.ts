import type { Snapshot } from "../../client";

/**
 * What the call page shows. `waiting`: the customer hears it ring. `ready`: the expert has answered and may
 * start. `connecting`: answered, the expert has not started yet. A text session is live once answered.
 */
export type Phase = "waiting" | "ready" | "connecting" | "live" | "ended";

export function phaseOf({ state, role, mode }: Snapshot): Phase {
  if (state === "ended") return "ended";
  if (state === "in_progress") return "live";
  if (mode === "text") return role === "customer" && state === "ringing" ? "waiting" : "live";
  if (role === "expert") return "ready";
  return state === "ringing" ? "waiting" : "connecting";
}
