import type { Api } from "../api";
import { h, setText } from "../dom";
import { icon } from "../icons";
import { errorText } from "../notices";
import type { LoginAnswer } from "../rest";
import { t } from "../strings";
import { busyWhile, button } from "../widgets";

export const DEMO_PASSWORD = "demo-talktime";
export const demoEmail = (role: string): string => `${role}@demo.talktime.test`;

type SignedIn = (answer: LoginAnswer) => Promise<void>;

/** The sign-in form, with the demo accounts one click away. */
export function signInView(
  api: Api,
  signedIn: SignedIn,
  reason?: string,
  { product, tagline }: { product: string; tagline: string } = t,
): HTMLElement {
  const failure = h("p", { class: "form-error", role: "alert", testid: "login-error" }, reason ?? "");
  const signIn = async (email: string, password: string) => {
    setText(failure, "");
    try {
      await signedIn(await api.login(email, password));
    } catch (error) {
      setText(failure, errorText(error));
    }
  };
  return h(
    "main",
    { class: "sign-in" },
    h(
      "div",
      { class: "card sign-in-card" },
      h("div", { class: "brand brand-large" }, h("span", { class: "brand-mark" }, icon("chat")), product),
      h("p", { class: "muted", dir: "auto" }, tagline),
      loginForm(signIn, failure),
      demoWanted() ? demoButtons(signIn) : null,
    ),
  );
}

type SignIn = (email: string, password: string) => Promise<void>;

function loginForm(signIn: SignIn, failure: HTMLElement): HTMLElement {
  const email = h("input", {
    id: "email",
    type: "email",
    autocomplete: "username",
    required: true,
    testid: "login-email",
  });
  const password = h("input", {
    id: "password",
    type: "password",
    autocomplete: "current-password",
    required: true,
    testid: "login-password",
  });
  const submit = button(t.signIn.submit, {
    kind: "primary",
    type: "submit",
    testid: "login-submit",
    class: "wide",
  });
  const onSubmit = (event: Event) => {
    event.preventDefault();
    void busyWhile(submit, () => signIn(email.value, password.value));
  };
  return h(
    "form",
    { class: "form", testid: "login-form", on: { submit: onSubmit } },
    h("h1", { class: "visually-hidden" }, t.signIn.title),
    h("div", { class: "field" }, h("label", { for: "email" }, t.signIn.email), email),
    h("div", { class: "field" }, h("label", { for: "password" }, t.signIn.password), password),
    failure,
    submit,
  );
}

/** Demo accounts are offered where someone tries the product out, not where it is used. */
function demoWanted(): boolean {
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  return local || new URLSearchParams(location.search).has("demo");
}

function demoButtons(signIn: SignIn): HTMLElement {
  const demo = (role: string, label: string) =>
    button(label, { testid: `demo-${role}`, action: () => signIn(demoEmail(role), DEMO_PASSWORD) });
  return h(
    "div",
    { class: "demo" },
    h("p", { class: "muted small" }, t.signIn.demo),
    h("div", { class: "row" }, demo("customer", t.signIn.demoCustomer), demo("expert", t.signIn.demoExpert)),
  );
}
