import type { Direction } from "../../client";
import { asTalktimeError } from "../../client/errors";
import type { App } from "../app";
import { openDialog } from "../dialog";
import { h } from "../dom";
import type { Order } from "../rest";
import { t } from "../strings";
import { button } from "../widgets";
import { topUpDialog } from "./top-up";

/** Calls the expert; for a video or audio call the customer first chooses one way or two-way (T25). */
export async function startCall(app: App, order: Order): Promise<void> {
  await app.sounds.unlock().catch(() => undefined);
  if (order.mode === "text") return invite(app, order, "two_way");
  const choice = { direction: "two_way" as Direction };
  const start = button(t.call.start, {
    kind: "primary",
    icon: "phone",
    testid: "call-start",
    "data-autofocus": true,
    action: async () => {
      await invite(app, order, choice.direction);
      dialog.close();
    },
  });
  const dialog = openDialog(
    t.call.dialogTitle(order.expert.display_name),
    "call-dialog",
    h(
      "fieldset",
      { class: "choices" },
      h("legend", {}, t.call.direction),
      option("two_way", t.call.twoWay, t.call.twoWayHint, choice),
      option("one_way", t.call.oneWay, t.call.oneWayHint, choice),
    ),
    h(
      "footer",
      { class: "dialog-actions" },
      button(t.cancel, { kind: "quiet", action: () => dialog.close() }),
      start,
    ),
  );
  await dialog.closed;
}

function option(
  value: Direction,
  label: string,
  hint: string,
  choice: { direction: Direction },
): HTMLElement {
  const input = h("input", {
    type: "radio",
    name: "direction",
    value,
    checked: value === choice.direction,
    testid: `direction-${value.replace("_", "-")}`,
    on: {
      change: () => {
        choice.direction = value;
      },
    },
  });
  return h(
    "label",
    { class: "choice" },
    input,
    h("span", {}, h("strong", {}, label), h("span", { class: "muted small" }, hint)),
  );
}

async function invite(app: App, order: Order, direction: Direction): Promise<void> {
  try {
    app.enter(await app.client.invite(order.id, order.mode, direction));
  } catch (error) {
    const { code, shortfallMinor } = asTalktimeError(error);
    if (code !== "insufficient_funds" || shortfallMinor === null) throw error;
    if (await topUpDialog(app, { neededMinor: shortfallMinor })) await invite(app, order, direction);
  }
}
