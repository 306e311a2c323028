/** Bodies of the REST surface that the storefront reads, beside those of the call page (page/rest.ts). */
import type { Message, Mode, PresenceStatus, Role } from "../client";
import type { Money, OrderRef, PartyCard, Tariff } from "../page/rest";

export type Kind = "consult" | "work" | "files";

export interface Market {
  name: string;
  title: string;
  tagline: string;
  locales: string[];
  currency: string;
  kinds: Kind[];
  modes: Mode[];
  /** The period that prices of consultations are asked for; null: there are none. */
  per_seconds: number | null;
  negotiation: boolean;
  sort: string;
  expert_applications: boolean;
  max_files: number;
  max_links: number;
}

export interface Category {
  id: string;
  slug: string;
  name: string;
  featured: boolean;
  children: Category[];
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
  photo_url: string | null;
  rating: number | null;
  review_count: number;
  refusal_count: number;
  completed_orders: number;
  response_s: number | null;
}

export interface Listing {
  id: string;
  title: string;
  description: string;
  category: string;
  category_name: string;
  kind: Kind;
  expert: ExpertCard;
  tariffs: Tariff[];
  my_orders: OrderRef[];
  locale: string;
  locales: string[];
  images: string[];
  price: Money | null;
  price_from: Money;
  delivery_days: number | null;
  requirements: string;
  file_count: number;
  link_count: number;
  order_count: number;
  rating: number | null;
}

export interface Review {
  id: string;
  listing_title: string | null;
  customer_name: string;
  rating_service: number;
  rating_expert: number;
  text: string;
  reply: string | null;
  created_at: string;
  can_edit: boolean;
  can_reply: boolean;
}

export interface ReviewPage {
  summary: { review_count: number; refusal_count: number; rating_milli: number; service_milli: number };
  items: Review[];
}

export interface Availability {
  /** 168 cells of an hour, Monday 0:00 of `timezone` first; "1": possible. */
  grid: string;
  timezone: string;
}

export interface Expert {
  id: string;
  slug: string;
  display_name: string;
  card: ExpertCard;
  about: string;
  education: string;
  experience: string;
  skills: string[];
  languages: string[];
  categories: string[];
  availability: Availability;
  expert_timezone: string;
  listings: Listing[];
}

export interface FileView {
  id: string;
  name: string;
  type: string;
  size: number;
  url: string;
}

export interface Order {
  id: string;
  number: string;
  title: string;
  listing_id: string | null;
  fulfilment: "live" | "work" | "files";
  mode: Mode | null;
  state: string;
  closed_reason: string | null;
  role: Role;
  customer: PartyCard;
  expert: PartyCard;
  tariff: Tariff | null;
  price: Money;
  held: Money;
  captured: Money;
  metered_sessions: number;
  conversation_id: string;
  requirements: string | null;
  delivery_by: string | null;
  started_at: string | null;
  delivered_at: string | null;
  rework_count: number;
  acts_at: string | null;
  dispute_case_id: string | null;
  actions: string[];
  created_at: string;
}

export interface Delivery {
  id: string;
  text: string;
  files: FileView[];
  at: string;
}

export interface OrderDetail extends Order {
  deliveries: Delivery[];
  review: Review | null;
}

export interface Conversation {
  id: string;
  kind: "pair" | "request" | "order" | "case";
  about: { type: string; id: string; title: string; number: string | null };
  other: PartyCard | null;
  last_message: Message | null;
  last_seq: number;
  read_seq: number;
  unread: number;
  updated_at: string;
}

export interface Case {
  id: string;
  number: string;
  kind: string;
  state: string;
  subject_type: string;
  subject_id: string;
  title: string;
  body: string;
  conversation_id: string | null;
  decision: string | null;
  reason: string | null;
  actions: string[];
  timeline: { at: string; text: string }[];
}

export interface Proposal {
  id: string;
  request_id: string;
  expert: PartyCard;
  state: string;
  by: Role | null;
  price: Money | null;
  delivery_days: number | null;
  note: string;
  reason: string | null;
  valid_until: string | null;
  conversation_id: string | null;
  order_id: string | null;
  actions: string[];
  warning: string | null;
}

export interface WorkRequest {
  id: string;
  title: string;
  body: string;
  files: FileView[];
  category: string;
  budget: Money | null;
  deadline: string;
  state: string;
  role: Role;
  customer: PartyCard;
  proposals: Proposal[];
  order_id: string | null;
  can_offer: boolean;
  actions: string[];
  created_at: string;
}

export interface Revision {
  number: number;
  state: string;
  locales: string[];
  title: Record<string, string>;
  description: Record<string, string>;
  category: string;
  image_ids: string[];
  images: string[];
  files: FileView[];
  links: string[];
  requirements: string;
}

export interface MyListing {
  id: string;
  kind: Kind;
  state: string;
  published_revision: number;
  revision: Revision;
  tariffs: Tariff[];
  price: Money | null;
  delivery_days: number | null;
  reason: string | null;
  order_count: number;
  rating: number | null;
  actions: string[];
}

export interface MyExpert {
  slug: string;
  headline: string;
  about: string;
  education: string;
  experience: string;
  skills: string[];
  languages: string[];
  categories: string[];
  photo_url: string | null;
  active: boolean;
}

export type Account = "wallet" | "earnings";

export interface Transaction {
  id: string;
  kind: string;
  account: Account;
  text: string;
  amount: Money;
  order_id: string | null;
  order_number: string | null;
  order_title: string | null;
  session_id: string | null;
  at: string;
}

export interface Mark {
  type: "expert" | "listing";
  id: string;
  expert: ExpertCard | null;
  listing: Listing | null;
}

export interface Blocked {
  id: string;
  display_name: string;
  at: string;
}

export interface Notification {
  id: string;
  type: string;
  /** In the language of the account. */
  title: string;
  url: string;
  read: boolean;
  at: string;
}

export interface PayoutDetails {
  holder: string;
  iban: string;
}

export interface Payout {
  id: string;
  amount: Money;
  state: string;
  iban: string;
  failure: string | null;
  actions: string[];
  created_at: string;
}
