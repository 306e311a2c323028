import { Emitter } from "./emitter";
import { type LinkTotals, readTotals } from "./quality";
import type { IceServer, MediaKind } from "./wire";

export type LinkState = "connecting" | "connected" | "interrupted" | "closed";

/** How long a broken path may heal by itself before an ICE restart is asked for. */
export const HEAL_MS = 1_000;

export interface Offer {
  leg_id: string;
  sdp: string;
  ice_servers: IceServer[];
}

export interface PeerEvents {
  /** What arrives from the other party; a new stream after a new leg. */
  remote: MediaStream;
  state: LinkState;
  /** The path is broken and does not heal: ask for an ICE restart. */
  trouble: undefined;
}

type CreateConnection = (configuration: RTCConfiguration) => RTCPeerConnection;

/**
 * One party's media connection. The engine always offers and carries its candidates in the SDP (ICE-lite),
 * so there is nothing to trickle; cameras and microphones come and go by `replaceTrack`.
 */
export class PeerLink extends Emitter<PeerEvents> {
  #connection: RTCPeerConnection | null = null;
  #legId: string | null = null;
  #tracks = new Map<MediaKind, MediaStreamTrack | null>();
  #healTimer: ReturnType<typeof setTimeout> | undefined;
  #state: LinkState = "closed";

  constructor(
    private readonly create: CreateConnection = (configuration) => new RTCPeerConnection(configuration),
  ) {
    super();
  }

  get state(): LinkState {
    return this.#state;
  }

  get legId(): string | null {
    return this.#legId;
  }

  /** Applies an offer and returns the SDP of the answer: a known leg is renegotiated, a new one replaces it. */
  async answer(offer: Offer): Promise<string> {
    const connection = this.#connectionFor(offer);
    await connection.setRemoteDescription({ type: "offer", sdp: offer.sdp });
    for (const transceiver of connection.getTransceivers()) {
      if (transceiver.currentDirection !== "stopped") transceiver.direction = "sendrecv";
    }
    await this.#placeTracks(connection);
    const answer = await connection.createAnswer();
    await connection.setLocalDescription(answer);
    return connection.localDescription?.sdp ?? answer.sdp ?? "";
  }

  /** Sends this track from now on (null: nothing), at once or as soon as the connection is negotiated. */
  async setTrack(kind: MediaKind, track: MediaStreamTrack | null): Promise<void> {
    this.#tracks.set(kind, track);
    if (this.#connection) await senderOf(this.#connection, kind)?.replaceTrack(track);
  }

  async totals(nowMs: number): Promise<LinkTotals | null> {
    if (!this.#connection) return null;
    const report = await this.#connection.getStats();
    const entries: Parameters<typeof readTotals>[0] extends Iterable<infer E> ? E[] : never = [];
    report.forEach((entry) => {
      entries.push(entry);
    });
    return readTotals(entries, nowMs);
  }

  close(): void {
    clearTimeout(this.#healTimer);
    this.#detach();
    this.#setState("closed");
  }

  #connectionFor(offer: Offer): RTCPeerConnection {
    const configuration: RTCConfiguration = { iceServers: offer.ice_servers, bundlePolicy: "max-bundle" };
    if (this.#connection && this.#legId === offer.leg_id) {
      this.#connection.setConfiguration(configuration);
      return this.#connection;
    }
    this.#detach();
    const connection = this.create(configuration);
    this.#connection = connection;
    this.#legId = offer.leg_id;
    this.#watch(connection);
    this.#setState("connecting");
    return connection;
  }

  #watch(connection: RTCPeerConnection): void {
    const remote = new MediaStream();
    connection.addEventListener("track", ({ track }) => {
      remote.addTrack(track);
      this.emit("remote", remote);
    });
    connection.addEventListener("iceconnectionstatechange", () => {
      if (connection === this.#connection) this.#onIceState(connection.iceConnectionState);
    });
  }

  #onIceState(state: RTCIceConnectionState): void {
    clearTimeout(this.#healTimer);
    if (state === "connected" || state === "completed") this.#setState("connected");
    if (state === "failed") this.#fail();
    if (state === "disconnected") {
      this.#setState("interrupted");
      this.#healTimer = setTimeout(() => this.#fail(), HEAL_MS);
    }
  }

  #fail(): void {
    this.#setState("interrupted");
    this.emit("trouble", undefined);
  }

  async #placeTracks(connection: RTCPeerConnection): Promise<void> {
    for (const [kind, track] of this.#tracks) {
      const sender = senderOf(connection, kind);
      if (sender && sender.track !== track) await sender.replaceTrack(track);
    }
  }

  #detach(): void {
    this.#connection?.close();
    this.#connection = null;
    this.#legId = null;
  }

  #setState(state: LinkState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.emit("state", state);
  }
}

function senderOf(connection: RTCPeerConnection, kind: MediaKind): RTCRtpSender | undefined {
  return connection.getTransceivers().find(({ receiver }) => receiver.track.kind === kind)?.sender;
}
