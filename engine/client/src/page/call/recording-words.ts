import type { RecordingView, Role } from "../../client";
import { t } from "../strings";

export interface RecordingNews {
  text: string;
  /** What this party did itself needs no more than a short word. */
  own: boolean;
}

/**
 * What a change of the recording means to one party, in a layperson's words; null: nothing to tell.
 * `other` is the other party's name.
 */
export function recordingNews(view: RecordingView, role: Role, other: string): RecordingNews | null {
  const text = view.by === role ? ownText(view) : otherText(view, other);
  return text === null ? null : { text, own: view.by === role };
}

function ownText({ state, reason }: RecordingView): string | null {
  if (state === "off") return reason === "withdrawn" ? t.recording.youWithdrew : t.recording.youDeclined;
  if (state === "stopped") return t.recording.youStopped;
  return state === "recording" ? t.recording.running : null;
}

function otherText({ state, by, reason }: RecordingView, other: string): string | null {
  if (state === "recording") return t.recording.running;
  if (state === "failed") return failedText(reason);
  // What ended with the call is told by the end of the call.
  if (by === null) return null;
  if (state === "stopped") return t.recording.stopped(other);
  if (state === "off")
    return reason === "withdrawn" ? t.recording.withdrew(other) : t.recording.declined(other);
  return t.recording.asks(other);
}

/** Why a recording did not begin, or ended by itself. */
export function failedText(reason: string | null): string {
  const { reasons } = t.recording;
  return reason !== null && Object.hasOwn(reasons, reason)
    ? reasons[reason as keyof typeof reasons]
    : reasons.failed;
}
