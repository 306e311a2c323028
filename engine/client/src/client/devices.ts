import { Emitter } from "./emitter";
import { TalktimeError } from "./errors";
import type { MediaKind } from "./wire";

export interface DeviceEvents {
  /** A camera or microphone was switched on or off, or (`lost`) was unplugged or taken away. */
  changed: { kind: MediaKind; track: MediaStreamTrack | null; lost: boolean };
}

const CONSTRAINTS: MediaStreamConstraints = {
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  video: {
    width: { ideal: 1280 },
    height: { ideal: 720 },
    frameRate: { ideal: 30, max: 30 },
    facingMode: "user",
  },
};

/** This browser's camera and microphone: opened when switched on, released when switched off (T50). */
export class Devices extends Emitter<DeviceEvents> {
  #tracks: Record<MediaKind, MediaStreamTrack | null> = { audio: null, video: null };
  #disposed = false;
  #opening: Promise<unknown> = Promise.resolve();

  get(kind: MediaKind): MediaStreamTrack | null {
    return this.#tracks[kind];
  }

  /**
   * Opens what is not open yet, with one question to the user for all of it. Throws `TalktimeError` with code
   * `device_denied`, `device_missing`, `device_in_use`, `device_insecure` or `device_failed`.
   */
  open(...kinds: MediaKind[]): Promise<void> {
    const opened = this.#opening.then(() => this.#openMissing(kinds.filter((kind) => !this.#tracks[kind])));
    this.#opening = opened.catch(() => undefined);
    return opened;
  }

  close(kind: MediaKind): void {
    const track = this.#tracks[kind];
    if (!track) return;
    track.stop();
    this.#set(kind, null);
  }

  /** Releases everything for good, also what is just being opened. */
  dispose(): void {
    this.#disposed = true;
    this.close("audio");
    this.close("video");
  }

  async #openMissing(kinds: MediaKind[]): Promise<void> {
    if (kinds.length === 0 || this.#disposed) return;
    for (const track of await openTracks(kinds)) this.#adopt(track.kind as MediaKind, track);
  }

  #adopt(kind: MediaKind, track: MediaStreamTrack): void {
    if (this.#disposed) {
      track.stop();
      return;
    }
    track.addEventListener("ended", () => {
      if (this.#tracks[kind] === track) this.#set(kind, null, true);
    });
    this.#set(kind, track);
  }

  #set(kind: MediaKind, track: MediaStreamTrack | null, lost = false): void {
    this.#tracks[kind] = track;
    this.emit("changed", { kind, track, lost });
  }
}

async function openTracks(kinds: MediaKind[]): Promise<MediaStreamTrack[]> {
  const media = navigator.mediaDevices as MediaDevices | undefined;
  if (!media)
    throw new TalktimeError("device_insecure", "Cameras and microphones need a secure (https) page.");
  const wanted = Object.fromEntries(kinds.map((kind) => [kind, CONSTRAINTS[kind]]));
  try {
    return (await media.getUserMedia(wanted)).getTracks();
  } catch (error) {
    throw deviceError(error);
  }
}

const DEVICE_CODES: Record<string, string> = {
  NotAllowedError: "device_denied",
  SecurityError: "device_denied",
  NotFoundError: "device_missing",
  OverconstrainedError: "device_missing",
  NotReadableError: "device_in_use",
  AbortError: "device_in_use",
};

function deviceError(error: unknown): TalktimeError {
  const name = error instanceof Error ? error.name : "";
  return new TalktimeError(
    DEVICE_CODES[name] ?? "device_failed",
    error instanceof Error ? error.message : name,
  );
}
