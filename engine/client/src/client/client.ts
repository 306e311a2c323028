import { io, type ManagerOptions, type Socket, type SocketOptions } from "socket.io-client";
import * as msgpackParser from "socket.io-msgpack-parser";
import { Emitter } from "./emitter";
import { asTalktimeError, readAck, TalktimeError } from "./errors";
import { CallSession } from "./session";
import {
  type CommandAnswer,
  type CommandBody,
  type CommandName,
  type Direction,
  type Mode,
  type PresenceStatus,
  type PresenceView,
  SERVER_EVENTS,
  type ServerEvent,
  type ServerEventName,
} from "./wire";

export interface ConnectOptions {
  /** Origin of the engine; default: this page's. */
  url?: string;
  /** Access token or engine token, or a function that gets a fresh one before every connect. */
  token: string | (() => string | Promise<string>);
  /** The engine serves both; msgpack saves bytes where the network is narrow. Default: json. */
  serializer?: "json" | "msgpack";
}

export type ConnectionState = "connecting" | "connected" | "reconnecting" | "closed";

type Stamped = { [N in ServerEventName]: ServerEvent<N> };
export interface ClientEvents extends Stamped {
  connection: ConnectionState;
  /** The engine refused the token: on the first connect, or when it came back after it expired. */
  refused: TalktimeError;
}

const ACK_TIMEOUT_MS = 10_000;
/** Media are broken when a restart is asked for: who does not answer soon is not reached any more. */
const RESTART_ACK_TIMEOUT_MS = 2_000;
const RECONNECT_AFTER_KICK_MS = 1_000;

/** A connection to the engine: presence, calls, and the sessions that live on it. */
export class TalktimeClient extends Emitter<ClientEvents> {
  #socket: Socket | null = null;
  #sessions = new Map<string, CallSession>();
  #watched = new Set<string>();
  #state: ConnectionState = "closed";
  #kickTimer: ReturnType<typeof setTimeout> | undefined;

  get connection(): ConnectionState {
    return this.#state;
  }

  /** Resolves once connected; rejects when the engine refuses the token. Reconnects by itself from then on. */
  connect(options: ConnectOptions): Promise<void> {
    this.close();
    const socket = io(`${options.url ?? ""}/rt`, socketOptions(options));
    this.#socket = socket;
    this.#setState("connecting");
    this.#listen(socket);
    return new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.on("connect_error", (error) => {
        if (socket.active) return; // the network's fault: tried again by itself
        this.#refused(refusal(error));
        reject(refusal(error));
      });
      socket.connect();
    });
  }

  /** Leaves the engine; sessions go on there until they end or time out. */
  close(): void {
    clearTimeout(this.#kickTimer);
    for (const session of [...this.#sessions.values()]) session.close();
    this.#socket?.removeAllListeners();
    this.#socket?.disconnect();
    this.#socket = null;
    this.#watched.clear();
    this.#setState("closed");
  }

  setPresence(status: PresenceStatus): Promise<CommandAnswer<"presence.set">> {
    return this.send("presence.set", { status });
  }

  /** Follows these experts: `presence.updated` tells changes, also after a reconnect. */
  async subscribePresence(expertIds: string[]): Promise<PresenceView[]> {
    for (const id of expertIds) this.#watched.add(id);
    return (await this.send("presence.subscribe", { expert_ids: expertIds })).experts;
  }

  async unsubscribePresence(expertIds: string[]): Promise<void> {
    for (const id of expertIds) this.#watched.delete(id);
    await this.send("presence.unsubscribe", { expert_ids: expertIds });
  }

  /** Calls the expert of an order. Only its customer may (T18). */
  async invite(orderId: string, mode: Mode, direction: Direction = "two_way"): Promise<CallSession> {
    const answer = await this.send("call.invite", { order_id: orderId, mode, direction });
    const session = this.session(answer.session_id);
    await session.join();
    return session;
  }

  /** The session object of an id, made when there is none: `join()` it to come back to a running session. */
  session(sessionId: string): CallSession {
    const known = this.#sessions.get(sessionId);
    if (known) return known;
    const forget = (session: CallSession) => this.#sessions.delete(session.id);
    const session = new CallSession(sessionId, (name, body) => this.send(name, body), forget);
    this.#sessions.set(sessionId, session);
    return session;
  }

  /** Any command of the wire. Rejects with `TalktimeError`: the engine's code, or `offline`, `timeout`. */
  async send<N extends CommandName>(name: N, body: CommandBody<N>): Promise<CommandAnswer<N>> {
    const socket = this.#socket;
    if (!socket?.connected) throw new TalktimeError("offline", "Not connected.");
    let ack: unknown;
    const restart = name === "rtc.restart";
    try {
      ack = await socket.timeout(restart ? RESTART_ACK_TIMEOUT_MS : ACK_TIMEOUT_MS).emitWithAck(name, body);
    } catch {
      // The network that media broke with took this connection along, without a word: make another.
      if (restart && socket.connected) socket.io.engine.close();
      throw new TalktimeError(socket.connected ? "timeout" : "offline", "The server did not answer.");
    }
    return readAck<CommandAnswer<N>>(ack);
  }

  /** The engine does not want this token (any more): nothing is tried again. */
  #refused(error: TalktimeError): void {
    this.#setState("closed");
    this.emit("refused", error);
  }

  #listen(socket: Socket): void {
    socket.on("connect", () => this.#onConnect());
    socket.on("disconnect", (reason) => this.#onDisconnect(socket, reason));
    for (const name of SERVER_EVENTS) {
      socket.on(name, (event: ServerEvent<ServerEventName>) => this.#dispatch(name, event));
    }
  }

  #onConnect(): void {
    this.#setState("connected");
    const resume = (task: Promise<unknown>) => {
      task.catch((error: unknown) => this.emit("error", localError(asTalktimeError(error))));
    };
    if (this.#watched.size > 0) resume(this.#refreshPresence());
    for (const session of this.#sessions.values()) if (session.live) resume(session.join());
  }

  async #refreshPresence(): Promise<void> {
    const { experts } = await this.send("presence.subscribe", { expert_ids: [...this.#watched] });
    for (const expert of experts) this.emit("presence.updated", { v: 1, seq: 0, at: "", ...expert });
  }

  #onDisconnect(socket: Socket, reason: string): void {
    this.#setState("reconnecting");
    // Socket.IO gives up when the server ended the connection, as it does before a restart.
    if (reason === "io server disconnect") {
      this.#kickTimer = setTimeout(() => socket.connect(), RECONNECT_AFTER_KICK_MS);
    }
  }

  #dispatch(name: ServerEventName, event: ServerEvent<ServerEventName>): void {
    const session = this.#sessionOf(event);
    if (session) session.receive(name, event);
    else this.emit(name, event as never);
  }

  #sessionOf(event: object): CallSession | undefined {
    const { session_id, conversation_id } = event as { session_id?: string; conversation_id?: string };
    if (session_id) return this.#sessions.get(session_id);
    if (!conversation_id) return undefined;
    return [...this.#sessions.values()].find((session) => session.belongsTo(conversation_id));
  }

  #setState(state: ConnectionState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.emit("connection", state);
  }
}

function socketOptions({ token, serializer }: ConnectOptions): Partial<ManagerOptions & SocketOptions> {
  return {
    autoConnect: false,
    forceNew: true,
    transports: ["websocket", "polling"],
    tryAllTransports: true,
    reconnectionDelay: 500,
    reconnectionDelayMax: 4_000,
    auth: (callback: (data: object) => void) => {
      void Promise.resolve(typeof token === "function" ? token() : token).then((value) =>
        callback({ token: value }),
      );
    },
    ...(serializer === "msgpack" ? { path: "/socket.io-msgpack", parser: msgpackParser } : {}),
  };
}

/** `connect_error` carries the engine's refusal in `data`. */
function refusal(error: Error): TalktimeError {
  const data = (error as { data?: unknown }).data;
  const { code, message, ...details } = (typeof data === "object" && data ? data : {}) as Record<
    string,
    unknown
  >;
  return new TalktimeError(
    typeof code === "string" ? code : "connection_refused",
    typeof message === "string" ? message : error.message,
    details,
  );
}

function localError({ code, message }: TalktimeError): ServerEvent<"error"> {
  return { v: 1, seq: 0, at: new Date().toISOString(), code, message, session_id: null };
}
