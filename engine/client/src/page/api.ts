import { type Mode, type Role, TalktimeError } from "../client";
import { randomId } from "../client/outbox";
import type { Listing, LoginAnswer, Order, Page, SessionView, TopUp, User, Wallet } from "./rest";

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** The REST surface under `/api/v1`. Everything rejects with `TalktimeError`. */
export class Api {
  /** Called when the token is no longer good. */
  onUnauthorized: () => void = () => undefined;

  constructor(public token: string | null = null) {}

  login(email: string, password: string): Promise<LoginAnswer> {
    return this.request("POST", "/auth/login", { email, password });
  }

  me(): Promise<User> {
    return this.request("GET", "/me");
  }

  async listings(): Promise<Listing[]> {
    return (await this.request<Page<Listing>>("GET", "/listings?kind=consult&limit=50")).items;
  }

  /** Of consultations: other orders have nothing to call for. */
  async orders(role: Role): Promise<Order[]> {
    return (await this.request<Page<Order>>("GET", `/orders?role=${role}&fulfilment=live&limit=50`)).items;
  }

  order(id: string): Promise<Order> {
    return this.request("GET", `/orders/${encodeURIComponent(id)}`);
  }

  /** Orders and pays in one step (T42, T43); a 402 keeps the order unpaid. */
  createOrder(listingId: string, mode: Mode): Promise<Order> {
    return this.request("POST", "/orders", { listing_id: listingId, mode, confirm: true });
  }

  actOnOrder(id: string, action: "pay" | "cancel" | "close"): Promise<Order> {
    return this.request("POST", `/orders/${encodeURIComponent(id)}/${action}`, {});
  }

  async sessions(orderId: string): Promise<SessionView[]> {
    const path = `/orders/${encodeURIComponent(orderId)}/sessions`;
    return (await this.request<Page<SessionView>>("GET", path)).items;
  }

  wallet(): Promise<Wallet> {
    return this.request("GET", "/wallet");
  }

  createTopUp(amountMinor: number, orderId: string | null): Promise<TopUp> {
    const order = orderId ? { order_id: orderId } : {};
    return this.request("POST", "/wallet/top-ups", { amount_minor: amountMinor, ...order });
  }

  topUp(id: string): Promise<TopUp> {
    return this.request("GET", `/wallet/top-ups/${encodeURIComponent(id)}`);
  }

  /** Plays the customer at the test provider's checkout. */
  async decideTestPayment(providerRef: string, outcome: "succeed" | "fail"): Promise<void> {
    await this.request("POST", `/test-payments/${encodeURIComponent(providerRef)}`, { outcome });
  }

  /** One operation; `body` goes as JSON, or as its bytes. */
  async request<T>(method: Method, path: string, body?: object | Blob): Promise<T> {
    const response = await this.#fetch(method, path, body);
    const answer: unknown = response.status === 204 ? null : await response.json().catch(() => null);
    if (response.ok) return answer as T;
    if (response.status === 401 && this.token) this.onUnauthorized();
    throw problem(response.status, answer);
  }

  async #fetch(method: Method, path: string, body?: object | Blob): Promise<Response> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const raw = body instanceof Blob;
    if (body) headers["Content-Type"] = raw ? "application/octet-stream" : "application/json";
    if (method === "POST" && !raw) headers["Idempotency-Key"] = randomId();
    try {
      const sent = raw ? body : body ? JSON.stringify(body) : null;
      return await fetch(`/api/v1${path}`, { method, headers, body: sent });
    } catch {
      throw new TalktimeError("offline", "The server cannot be reached.");
    }
  }
}

/** problem+json (RFC 9457) as an error. */
function problem(status: number, answer: unknown): TalktimeError {
  const { code, title, detail, ...rest } = (answer ?? {}) as Record<string, unknown>;
  const text = [detail, title].find((candidate) => typeof candidate === "string" && candidate !== "");
  return new TalktimeError(
    typeof code === "string" ? code : `http_${status}`,
    typeof text === "string" ? text : `The server refused (${status}).`,
    { ...rest, status },
  );
}
