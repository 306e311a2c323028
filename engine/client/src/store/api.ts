import type { Message, Mode } from "../client";
import { Api } from "../page/api";
import type { Page, User } from "../page/rest";
import type {
  Account,
  Availability,
  Blocked,
  Case,
  Category,
  Conversation,
  Expert,
  FileView,
  Listing,
  Mark,
  Market,
  MyExpert,
  MyListing,
  Notification,
  OrderDetail,
  Payout,
  PayoutDetails,
  Proposal,
  ReviewPage,
  Order as StoreOrder,
  Transaction,
  WorkRequest,
} from "./rest";

export type Query = Record<string, string | number | boolean | null | undefined>;
export type Purpose = "photo" | "image" | "goods" | "attachment";

/** What can be a favourite, and what a complaint can be about. */
export type Marked = "expert" | "listing";
export type Reported = Marked | "order" | "review";

interface Unread {
  unread: number;
}

export interface Offer {
  price_minor: number;
  delivery_days: number;
  note: string;
}

/** The rest of the REST surface under `/api/v1`, as far as the storefront uses it. */
export class StoreApi extends Api {
  market = () => this.request<Market>("GET", "/market");
  categories = async (locale: string) =>
    (await this.request<{ items: Category[] }>("GET", `/categories${query({ locale })}`)).items;

  documents = () => this.request<{ documents: Record<string, string> }>("GET", "/auth/documents");
  register = (body: object) => this.request("POST", "/auth/register", body);
  verifyEmail = (token: string) => this.request("POST", "/auth/verify-email", { token });
  forgotPassword = (email: string) => this.request("POST", "/auth/password-reset", { email });
  resetPassword = (token: string, password: string) =>
    this.request("POST", "/auth/password-reset/confirm", { token, password });

  search = (wanted: Query) => this.request<Page<Listing>>("GET", `/listings${query(wanted)}`);
  listing = (id: string, locale?: string) =>
    this.request<Listing>("GET", `/listings/${part(id)}${query({ locale })}`);
  reviews = (of: "listings" | "experts", id: string) =>
    this.request<ReviewPage>("GET", `/${of}/${part(id)}/reviews`);
  expert = (slug: string, locale: string) =>
    this.request<Expert>("GET", `/experts/${part(slug)}${query({ locale, tz: ownZone() })}`);

  upload = (file: File, purpose: Purpose) =>
    this.request<FileView>("POST", `/files${query({ purpose, name: file.name })}`, file);

  placeOrder = (listingId: string, mode: Mode | null, requirements: string | null) =>
    this.request<OrderDetail>("POST", "/orders", { listing_id: listingId, mode, requirements });
  orderPage = (wanted: Query) => this.request<Page<StoreOrder>>("GET", `/orders${query(wanted)}`);
  orderDetail = (id: string) => this.request<OrderDetail>("GET", `/orders/${part(id)}`);
  orderFiles = (id: string) =>
    this.request<{ files: FileView[]; links: string[] }>("GET", `/orders/${part(id)}/files`);
  act = (id: string, action: string, body: object = {}) =>
    this.request<OrderDetail>("POST", `/orders/${part(id)}/${action}`, body);
  require = (id: string, requirements: string) =>
    this.request<OrderDetail>("PUT", `/orders/${part(id)}/requirements`, { requirements });
  deliverPart = (id: string, text: string, files: string[]) =>
    this.request<OrderDetail>("POST", `/orders/${part(id)}/deliveries`, { text, files });
  replyToReview = (id: string, text: string) => this.request("POST", `/reviews/${part(id)}/reply`, { text });

  conversations = (wanted: Query) =>
    this.request<Page<Conversation>>("GET", `/conversations${query(wanted)}`);
  conversation = (id: string) => this.request<Conversation>("GET", `/conversations/${part(id)}`);
  ask = (listingId: string) =>
    this.request<Conversation>("POST", "/conversations", { listing_id: listingId });
  messages = (id: string, cursor?: string) =>
    this.request<Page<Message>>("GET", `/conversations/${part(id)}/messages${query({ cursor })}`);
  write = (id: string, body: string, files: string[]) =>
    this.request<{ message: Message; warning: string | null }>(
      "POST",
      `/conversations/${part(id)}/messages`,
      { body, files },
    );
  read = (id: string, seq: number) => this.request("POST", `/conversations/${part(id)}/read`, { seq });

  caseDetail = (id: string) => this.request<Case>("GET", `/cases/${part(id)}`);
  withdrawCase = (id: string) => this.request<Case>("POST", `/cases/${part(id)}/withdraw`, {});

  requests = (role: string) => this.request<Page<WorkRequest>>("GET", `/requests${query({ role })}`);
  workRequest = (id: string) => this.request<WorkRequest>("GET", `/requests/${part(id)}`);
  sendRequest = (body: object) => this.request<WorkRequest>("POST", "/requests", body);
  cancelRequest = (id: string) => this.request<WorkRequest>("POST", `/requests/${part(id)}/cancel`, {});
  offer = (requestId: string, offer: Offer) =>
    this.request<Proposal>("POST", `/requests/${part(requestId)}/proposals`, offer);
  onProposal = (id: string, action: string, body: object = {}) =>
    this.request<Proposal>("POST", `/proposals/${part(id)}/${action}`, body);

  myListings = () => this.request<Page<MyListing>>("GET", "/me/listings?limit=100");
  myListing = (id: string) => this.request<MyListing>("GET", `/me/listings/${part(id)}`);
  createListing = (body: object) => this.request<MyListing>("POST", "/listings", body);
  editListing = (id: string, body: object) => this.request<MyListing>("PATCH", `/listings/${part(id)}`, body);
  moveListing = (id: string, action: string) =>
    this.request<MyListing>("POST", `/listings/${part(id)}/${action}`);
  archiveListing = (id: string) => this.request<MyListing>("DELETE", `/listings/${part(id)}`);
  putListingFile = (id: string, n: number, fileId: string) =>
    this.request<MyListing>("PUT", `/listings/${part(id)}/files/${n}`, { file_id: fileId });
  deleteListingFile = (id: string, n: number) =>
    this.request<MyListing>("DELETE", `/listings/${part(id)}/files/${n}`);

  myExpert = () => this.request<MyExpert>("GET", "/me/expert");
  editExpert = (body: object) => this.request<MyExpert>("PATCH", "/me/expert", body);
  apply = (about: string) => this.request("POST", "/applications", { about });
  application = () =>
    this.request<{ number: string; state: string; decision: string | null; reason: string | null }>(
      "GET",
      "/me/application",
    );
  availability = () => this.request<Availability>("GET", "/me/availability");
  setAvailability = (week: Availability) => this.request<Availability>("PUT", "/me/availability", week);

  transactions = (account: Account, cursor?: string) =>
    this.request<Page<Transaction>>("GET", `/wallet/transactions${query({ account, cursor })}`);
  setLocale = (locale: string) => this.request<User>("PATCH", "/me", { locale });

  favourites = () => this.request<Page<Mark>>("GET", "/me/favourites");
  setFavourite = (type: Marked, id: string, on: boolean) =>
    this.request(on ? "PUT" : "DELETE", `/me/favourites/${type}/${part(id)}`);
  blocks = () => this.request<Page<Blocked>>("GET", "/me/blocks");
  block = (userId: string) => this.request("PUT", `/me/blocks/${part(userId)}`);
  unblock = (userId: string) => this.request("DELETE", `/me/blocks/${part(userId)}`);
  report = (subject_type: Reported, subject_id: string, reason: string) =>
    this.request<{ id: string; number: string }>("POST", "/reports", { subject_type, subject_id, reason });

  notifications = (wanted: Query) =>
    this.request<Page<Notification> & Unread>("GET", `/notifications${query(wanted)}`);
  /** Without `ids` all of them. */
  readNotifications = (ids?: string[]) =>
    this.request<Unread>("POST", "/notifications/read", ids ? { ids } : {});

  payoutDetails = () => this.request<PayoutDetails>("GET", "/me/payout-details");
  setPayoutDetails = (details: PayoutDetails) =>
    this.request<PayoutDetails>("PUT", "/me/payout-details", details);
  payouts = () => this.request<Page<Payout>>("GET", "/payouts");
  requestPayout = (amountMinor: number) =>
    this.request<Payout>("POST", "/payouts", { amount_minor: amountMinor });
  cancelPayout = (id: string) => this.request<Payout>("POST", `/payouts/${part(id)}/cancel`);
}

export function ownZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** What is absent or empty is left out. */
export function query(values: Query): string {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  const params = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  for (const [name, value] of [...params]) if (value === "") params.delete(name);
  return params.size > 0 ? `?${params}` : "";
}

function part(id: string): string {
  return encodeURIComponent(id);
}
