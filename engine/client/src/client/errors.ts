/** A refusal or failure with a stable `code`; `details` holds the other members of the answer. */
export class TalktimeError extends Error {
  override readonly name = "TalktimeError";

  constructor(
    readonly code: string,
    message: string,
    readonly details: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }

  /** Money still needed, in minor units, where the refusal is about money. */
  get shortfallMinor(): number | null {
    return minorOf(this.details.shortfall ?? this.details.shortfall_minor);
  }

  /** Seconds to wait before trying again, where the refusal says so. */
  get retryAfterSeconds(): number | null {
    const value = this.details.retry_after;
    return typeof value === "number" ? value : null;
  }
}

function minorOf(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (typeof value !== "object" || value === null) return null;
  const amount = (value as { amount?: unknown }).amount;
  return typeof amount === "number" ? amount : null;
}

/** Reads an ack of the engine: its members, or throws what it refused. */
export function readAck<T>(ack: unknown): T {
  if (typeof ack !== "object" || ack === null) {
    throw new TalktimeError("bad_answer", "The server answered with something unexpected.");
  }
  const { ok, ...rest } = ack as Record<string, unknown>;
  if (ok === true) return rest as T;
  const { code, message, ...details } = rest;
  throw new TalktimeError(
    typeof code === "string" ? code : "unknown",
    typeof message === "string" ? message : "The request was refused.",
    details,
  );
}

/** Anything thrown, as a `TalktimeError`. */
export function asTalktimeError(error: unknown): TalktimeError {
  if (error instanceof TalktimeError) return error;
  if (error instanceof DOMException) return new TalktimeError(error.name, error.message);
  return new TalktimeError("unexpected", error instanceof Error ? error.message : String(error));
}
