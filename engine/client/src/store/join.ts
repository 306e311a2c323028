import { asTalktimeError } from "../client/errors";
import { h } from "../page/dom";
import { word } from "../page/strings";
import { field, form, loaded, pageHead, prose, textarea } from "./parts";
import type { Store } from "./store";
import { w } from "./words";

/** How a customer becomes an expert: at once, or by an application that staff decide. */
export function joinPage(store: Store): HTMLElement {
  const { element } = loaded(
    () => newest(store),
    (application, again) =>
      h(
        "div",
        { class: "stack narrow" },
        pageHead(w.join.title, h("p", { class: "muted" }, w.join.intro)),
        application ? h("p", { class: "note", testid: "application" }, standing(application)) : null,
        application?.reason ? prose(application.reason) : null,
        application && application.decision === null
          ? null
          : h("section", { class: "card" }, joinForm(store, again)),
      ),
  );
  return element;
}

type Application = Awaited<ReturnType<Store["api"]["application"]>>;

async function newest(store: Store): Promise<Application | null> {
  if (!store.market.expert_applications) return null;
  return store.api.application().catch((error) => {
    if (asTalktimeError(error).details.status !== 404) throw error;
    return null;
  });
}

function standing({ number, decision }: Application): string {
  return decision === null ? w.join.applied(number) : word(w.join.decisions, decision);
}

function joinForm(store: Store, again: () => Promise<void>): HTMLElement {
  const about = textarea("", { maxlength: 4_000, testid: "join-about" });
  const decided = store.market.expert_applications;
  return form(
    [field(w.join.about, about)],
    decided ? w.join.apply : w.join.begin,
    "join-submit",
    async () => {
      if (decided) {
        await store.api.apply(about.value.trim());
        await again();
        return;
      }
      await store.api.editExpert({ about: about.value.trim() });
      location.reload();
    },
  );
}
