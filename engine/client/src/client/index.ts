/** The embeddable client: everything that a marketplace's frontend needs. */
export { type ClientEvents, type ConnectionState, type ConnectOptions, TalktimeClient } from "./client";
export { TalktimeError } from "./errors";
export { type MeterReading, type MeterStatement, readMeter } from "./meter";
export type { LinkState } from "./peer";
export type { Connections, Quality } from "./quality";
export { CallSession, type SessionEvents } from "./session";
export * from "./wire";
