/** Pages by the paths that mails and notifications link to. */

const PAGES: Record<string, string> = {
  orders: "order",
  requests: "request",
  listings: "edit",
  messages: "talk",
  reviews: "sales",
  proposals: "requests",
  cases: "case",
  application: "desk",
};

/** `/orders/ord_1` is `#/order/ord_1` of the storefront; null: the path is none of these links. */
export function pageOf(path: string): string | null {
  const [first = "", ...rest] = path.split("/").filter(Boolean);
  if (first === "store" || first === "") return null;
  return `#/${[PAGES[first] ?? first, ...rest].join("/")}`;
}

/** Of a whole address, whichever host it was written for; what is no address leads nowhere. */
export function pageOfUrl(url: string): string {
  if (!URL.canParse(url)) return "#/notifications";
  return pageOf(new URL(url).pathname) ?? "#/";
}
