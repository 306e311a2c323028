/** Bodies of the REST surface as the admin side defines them (admin/schemas.py). */
import type { EndReason, Mode, PresenceStatus, Role } from "../client";

export interface Money {
  amount: number;
  currency: string;
}

export interface User {
  id: string;
  email: string;
  display_name: string;
  roles: string[];
  locale: string;
  presence_status: PresenceStatus | null;
}

export interface LoginAnswer {
  access_token: string;
  token_type: string;
  expires_in: number;
  user: User;
}

export interface ExpertCard {
  id: string;
  slug: string;
  display_name: string;
  headline: string;
  languages: string[];
  online: boolean;
  status: PresenceStatus;
  callable: boolean;
}

export interface Tariff {
  mode: Mode;
  currency: string;
  price_minor: number;
  per_seconds: number;
  block_seconds: number;
  block_price_minor: number;
  prepaid_seconds: number;
  prepay_minor: number;
  grace_seconds: number;
}

export interface OrderRef {
  id: string;
  number: string;
  mode: Mode;
  state: string;
}

export interface Listing {
  id: string;
  title: string;
  description: string;
  category: string;
  category_name: string;
  kind: string;
  expert: ExpertCard;
  tariffs: Tariff[];
  my_orders: OrderRef[];
}

export interface PartyCard {
  id: string;
  display_name: string;
}

export interface Order {
  id: string;
  number: string;
  title: string;
  listing_id: string | null;
  mode: Mode;
  state: string;
  closed_reason: string | null;
  role: Role;
  customer: PartyCard;
  expert: PartyCard;
  tariff: Tariff;
  held: Money;
  captured: Money;
  metered_sessions: number;
  live_session_id: string | null;
  conversation_id: string;
  can_call: boolean;
  can_cancel: boolean;
  created_at: string;
}

export interface SessionView {
  id: string;
  order_id: string;
  ordinal: number | null;
  mode: Mode;
  state: string;
  end_reason: EndReason | null;
  ended_by: string | null;
  rung_at: string;
  metered_at: string | null;
  ended_at: string | null;
  billed_seconds: number;
  blocks: number;
  total: Money;
  receipt_url: string | null;
}

export interface Wallet {
  available: Money;
  held: Money;
  earned: Money;
}

export interface TopUp {
  id: string;
  amount: Money;
  state: "pending" | "succeeded" | "failed" | "expired";
  provider: string;
  checkout_url: string | null;
  created_at: string;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}
