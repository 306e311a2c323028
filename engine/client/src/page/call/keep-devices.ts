import type { CallSession, MediaKind } from "../../client";
import { storage } from "../storage";

const KINDS: MediaKind[] = ["audio", "video"];

/** Remembers per tab what is switched on, so that a reload does not silence the call. */
export function keepDevices(session: CallSession): void {
  const keep = () => {
    const on = KINDS.filter((kind) => session.media.devices.get(kind) !== null);
    storage.devices.set([session.id, ...on].join(" "));
  };
  session.media.on("local", keep);
  keep();
}

/** What was switched on in this tab when the page of this session went away. */
export function keptDevices(sessionId: string): MediaKind[] {
  const [id, ...on] = (storage.devices.get() ?? "").split(" ");
  return id === sessionId ? KINDS.filter((kind) => on.includes(kind)) : [];
}

/** Switches on again what was on. A device that will not open stays off: the page says so. */
export async function restoreDevices(session: CallSession, kinds: MediaKind[]): Promise<void> {
  if (kinds.length === 0 || session.snapshot.mode === "text") return;
  await session.media.devices.open(...kinds);
  await session.media.announce();
}
