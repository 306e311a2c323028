import type { App } from "../app";
import { h, setText, show } from "../dom";
import { formatClock, formatMoney } from "../format";
import { icon } from "../icons";
import { announce } from "../notices";
import { t } from "../strings";
import { topUpDialog } from "../views/top-up";
import { button } from "../widgets";
import type { CallContext } from "./page";
import { phaseOf } from "./phase";
import { recordingNotice } from "./recording";

/** What must not be missed during a call: low balance, a standing clock, a broken connection. */
export function banners(context: CallContext): HTMLElement {
  return h(
    "section",
    { class: "banners", "aria-label": t.call.notices },
    lowBalance(context),
    silent(context),
    paused(context),
    brokenLink(context),
    recordingNotice(context),
  );
}

function lowBalance({ app, session, scope }: CallContext): HTMLElement {
  const words = h("p", { class: "grow" });
  let shortfallMinor = 0;
  const banner = h(
    "div",
    { class: "banner banner-danger", testid: "low-balance" },
    icon("wallet"),
    words,
    topUpButton(app, () => shortfallMinor),
  );
  show(banner, false);
  const text = (secondsLeft: number, currency: string) =>
    `${t.meter.lowBalance(formatClock(secondsLeft))} ${t.meter.lowBalanceTopUp(formatMoney(shortfallMinor, currency))}`;
  scope.add(
    session.on("low_balance", ({ seconds_left, shortfall_minor }) => {
      shortfallMinor = shortfall_minor;
      show(banner, true);
      app.sounds.chime();
      announce(text(seconds_left, session.snapshot.meter.currency), true);
    }),
  );
  scope.every(500, () => {
    const reading = session.readMeter();
    if (banner.hidden || !reading) return;
    // Money arrived: more than this block is covered again.
    if (reading.secondsLeft === null || reading.secondsLeft > RELIEF_SECONDS) show(banner, false);
    else setText(words, text(reading.secondsLeft, reading.currency));
  });
  return banner;
}

/** The engine warns at 120 s and 30 s; beyond this the warning is no longer true. */
const RELIEF_SECONDS = 125;

function topUpButton(app: App, shortfall: () => number): HTMLElement {
  return button(t.meter.topUp, {
    class: "small",
    testid: "call-topup",
    action: () => topUpDialog(app, shortfall() > 0 ? { neededMinor: shortfall() } : {}),
  });
}

function paused({ session, scope }: CallContext): HTMLElement {
  const words = h("p", { class: "grow" });
  const banner = h("div", { class: "banner banner-warning", testid: "paused-notice" }, icon("pause"), words);
  show(banner, session.readMeter()?.state === "paused");
  setText(words, t.meter.pausedTitle);
  scope.add(
    session.on("paused", ({ reason }) => {
      const why = reason === "no_media" ? t.meter.pausedNoMedia : t.meter.pausedDisconnected;
      setText(words, `${t.meter.pausedTitle}. ${why}`);
      show(banner, true);
      announce(`${t.meter.pausedTitle}. ${why}`);
    }),
  );
  scope.add(session.on("resumed", () => announce(t.meter.resumed)));
  scope.add(session.on("meter", ({ view }) => view.state !== "paused" && show(banner, false)));
  return banner;
}

/** An expert whose devices are all off: also after a reload when they would not open again. */
function silent({ session, scope }: CallContext): HTMLElement {
  const { media, snapshot } = session;
  const on = button(t.call.speak, {
    class: "small",
    testid: "devices-on",
    action: async () => {
      await media.devices.open("audio", ...(snapshot.mode === "video" ? (["video"] as const) : []));
      await media.announce();
    },
  });
  const words = h("p", { class: "grow" }, t.call.silent);
  const banner = h(
    "div",
    { class: "banner banner-danger", testid: "devices-off" },
    icon("microphone", "off"),
    words,
    on,
  );
  const follow = () => {
    const publishing = media.devices.get("audio") !== null || media.devices.get("video") !== null;
    const concerned = session.role === "expert" && snapshot.mode !== "text";
    show(banner, concerned && phaseOf(session.snapshot) === "live" && !publishing);
  };
  scope.add(media.on("local", follow));
  scope.add(session.on("updated", follow));
  follow();
  return banner;
}

function brokenLink({ session, scope }: CallContext): HTMLElement {
  const words = h("p", { class: "grow" });
  const takeBack = button(t.call.takeBack, {
    class: "small",
    testid: "take-back",
    action: () => session.join(),
  });
  const banner = h(
    "div",
    { class: "banner banner-warning", testid: "link-notice" },
    icon("alert"),
    words,
    takeBack,
  );
  const say = (displaced: boolean) => {
    setText(words, displaced ? t.call.displaced : t.call.interrupted);
    show(takeBack, displaced);
  };
  say(false);
  show(banner, session.media.link === "interrupted");
  scope.add(
    session.media.on("link", (link) => {
      say(false);
      show(banner, link === "interrupted");
    }),
  );
  scope.add(
    session.media.on("displaced", () => {
      say(true);
      announce(t.call.displaced, true);
    }),
  );
  return banner;
}
