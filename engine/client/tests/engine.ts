import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server, type Socket } from "socket.io";
import { TalktimeClient } from "../src/client";
import { snapshot } from "./samples";

type Answer = (body: Record<string, unknown>, socket: Socket) => object;

/** A Socket.IO server on the engine's namespace whose answers a test decides. */
export class FakeEngine {
  readonly received: [string, Record<string, unknown>][] = [];
  answers: Record<string, Answer> = {};
  token = "good";
  #muted = new Set<string>();
  #http = createServer();
  #io: Server;

  constructor() {
    this.#io = new Server(this.#http);
    const namespace = this.#io.of("/rt");
    namespace.use((socket, next) => {
      const data = { code: "token_invalid", message: "no", retry_after: 3 };
      next(socket.handshake.auth.token === this.token ? undefined : Object.assign(new Error("no"), { data }));
    });
    namespace.on("connection", (socket) => {
      socket.onAny((name: string, body: Record<string, unknown>, ack: (answer: object) => void) => {
        this.received.push([name, body]);
        if (!this.#muted.has(name)) ack(this.answers[name]?.(body, socket) ?? { ok: true });
      });
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#http.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  push(name: string, body: object): void {
    this.#io.of("/rt").emit(name, { v: 1, at: "2026-01-01T00:00:00Z", ...body });
  }

  /** This command gets no answer from now on. */
  mute(name: string): void {
    this.#muted.add(name);
  }

  /** Breaks every connection without a word, as a lost network does. */
  breakConnections(): void {
    for (const socket of this.#io.of("/rt").sockets.values()) socket.conn.close();
  }

  /** Answers joins with this snapshot from now on. */
  joinWith(lastSeq: number): void {
    this.answers["session.join"] = () => ({
      ok: true,
      snapshot: snapshot({ last_seq: lastSeq }),
      replayed: 0,
    });
  }

  sent(name: string): Record<string, unknown>[] {
    return this.received.filter(([event]) => event === name).map(([, body]) => body);
  }

  close(): Promise<void> {
    return this.#io.close();
  }
}

/** Runs a test between a connected client and a fake engine, and leaves nothing open behind. */
export async function withEngine(
  run: (engine: FakeEngine, client: TalktimeClient) => Promise<void>,
): Promise<void> {
  const engine = new FakeEngine();
  const url = await engine.listen();
  const client = new TalktimeClient();
  try {
    await client.connect({ url, token: "good" });
    await run(engine, client);
  } finally {
    client.close();
    await engine.close();
  }
}

/** Resolves as soon as the condition holds; the test runner's timeout is the limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
