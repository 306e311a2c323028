import { h } from "../page/dom";
import { icon } from "../page/icons";
import { errorText } from "../page/notices";
import { word } from "../page/strings";
import { ownZone, type StoreApi } from "./api";
import { checkbox, field, form, input, linkButton, loaded } from "./parts";
import type { Market } from "./rest";
import { textLocale } from "./store";
import { w } from "./words";

/** The pages of people who are not signed in, by the name in the address; null: none of them. */
export function accountPage(api: StoreApi, market: Market, name: string): HTMLElement | null {
  const token = new URLSearchParams(location.hash.split("?")[1] ?? "").get("token") ?? "";
  if (name === "register") return frame(market, w.account.register, register(api, market));
  if (name === "forgot") return frame(market, w.account.forgot, forgot(api));
  if (name === "verify-email") return frame(market, w.account.verify, verify(api, token));
  if (name === "reset-password") return frame(market, w.account.reset, reset(api, token));
  return null;
}

function frame(market: Market, title: string, content: HTMLElement): HTMLElement {
  document.title = title;
  return h(
    "main",
    { class: "sign-in" },
    h(
      "div",
      { class: "card sign-in-card" },
      h(
        "div",
        { class: "brand brand-large" },
        h("span", { class: "brand-mark" }, icon("chat")),
        market.title,
      ),
      h("h1", {}, title),
      content,
      h(
        "p",
        { class: "row wrap" },
        h("a", { href: "#/sign-in" }, w.signIn),
        h("a", { href: "#/" }, w.toCatalogue),
      ),
    ),
  );
}

/** Says what happened in the place of the form. */
function done(text: string, ...more: HTMLElement[]): HTMLElement {
  return h("div", { class: "stack", role: "status", testid: "account-done" }, h("p", {}, text), ...more);
}

/** Everything is agreed to before there is an account; the address is confirmed by mail. */
function register(api: StoreApi, market: Market): HTMLElement {
  const { element } = loaded(api.documents, ({ documents }) => {
    const name = input("", { autocomplete: "name", testid: "register-name" });
    const email = input("", { type: "email", autocomplete: "email", testid: "register-email" });
    const password = newPassword();
    const boxes = Object.keys(documents).map((document) =>
      checkbox(w.account.agree(word(w.account.documents, document)), false, {
        testid: `agree-${document}`,
      }),
    );
    const content = [
      field(w.account.name, name),
      field(w.account.email, email),
      field(w.account.password, password),
      ...boxes.map(([label]) => label),
    ];
    const element = form(content, w.account.register, "register-submit", async () => {
      if (boxes.some(([, box]) => !box.checked)) throw new Error(w.account.agreeFirst);
      await api.register({
        display_name: name.value.trim(),
        email: email.value.trim(),
        password: password.value,
        consents: documents,
        locale: textLocale(market, null),
        timezone: ownZone(),
      });
      element.replaceWith(done(w.account.registered));
    });
    return element;
  });
  return element;
}

function newPassword(): HTMLInputElement {
  return input("", { type: "password", autocomplete: "new-password", testid: "new-password" });
}

function forgot(api: StoreApi): HTMLElement {
  const email = input("", { type: "email", autocomplete: "email", testid: "forgot-email" });
  const element = form([field(w.account.email, email)], w.send, "forgot-submit", async () => {
    await api.forgotPassword(email.value.trim());
    element.replaceWith(done(w.account.mailed));
  });
  return element;
}

function verify(api: StoreApi, token: string): HTMLElement {
  const place = h("div", {}, h("p", { class: "muted", role: "status" }, w.loading));
  api
    .verifyEmail(token)
    .then(() =>
      place.replaceChildren(
        done(w.account.verified, linkButton(w.signIn, "#/sign-in", { class: "primary" })),
      ),
    )
    .catch((error) =>
      place.replaceChildren(h("p", { class: "form-error", role: "alert" }, errorText(error))),
    );
  return place;
}

function reset(api: StoreApi, token: string): HTMLElement {
  const password = newPassword();
  const element = form([field(w.account.newPassword, password)], w.save, "reset-submit", async () => {
    await api.resetPassword(token, password.value);
    element.replaceWith(done(w.account.changed));
  });
  return element;
}
