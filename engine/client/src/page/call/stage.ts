import type { Party } from "../../client";
import { asTalktimeError } from "../../client/errors";
import { h, setText, show } from "../dom";
import { errorText } from "../notices";
import { t } from "../strings";
import { avatar, button } from "../widgets";
import type { CallContext } from "./page";
import { phaseOf } from "./phase";

/** The picture: the other party large, oneself small, and what there is to say instead of a picture. */
export function stage(context: CallContext, overlay: HTMLElement): HTMLElement {
  return h(
    "section",
    { class: "stage" },
    remoteVideo(context),
    placeholder(context),
    localVideo(context),
    overlay,
  );
}

function otherParty({ session }: CallContext): Party {
  const { role, customer, expert } = session.snapshot;
  return role === "customer" ? expert : customer;
}

function remoteVideo(context: CallContext): HTMLElement {
  const { session, scope } = context;
  const video = h("video", {
    class: "remote",
    autoplay: true,
    playsinline: true,
    testid: "remote-video",
    "aria-label": t.call.remoteVideo(otherParty(context).display_name),
  });
  const tap = button(t.call.tapToPlay, { kind: "primary", class: "tap", action: () => play() });
  tap.hidden = true;
  const play = async () => {
    try {
      await video.play();
      tap.hidden = true;
    } catch (error) {
      // A new stream interrupts the old one's start; only the autoplay rule needs the user.
      show(tap, asTalktimeError(error).code === "NotAllowedError");
    }
  };
  const attach = (stream: MediaStream) => {
    if (video.srcObject !== stream) video.srcObject = stream;
    void play();
  };
  video.addEventListener("playing", () => {
    video.dataset.playing = "true";
  });
  scope.add(session.media.on("remote", attach));
  scope.add(() => {
    video.srcObject = null;
  });
  if (session.media.remoteStream) attach(session.media.remoteStream);
  return h("div", { class: "remote-box" }, video, tap);
}

/** Shown when the other party sends no picture. */
function placeholder(context: CallContext): HTMLElement {
  const { session, scope } = context;
  const { display_name, user_id } = otherParty(context);
  const words = h("p");
  const box = h("div", { class: "placeholder" }, avatar(display_name, user_id, "large"), words);
  const follow = () => {
    const { snapshot } = session;
    const other = otherParty(context);
    const hidden = snapshot.role === "expert" && snapshot.direction === "one_way";
    const nothing = !other.video || hidden || !other.connected;
    show(box, phaseOf(snapshot) === "live" && (nothing || !isPlaying(box)));
    setText(words, placeholderText(context, other, hidden));
  };
  scope.add(session.on("updated", follow));
  scope.every(250, follow);
  follow();
  return box;
}

/** Whether the picture beside the placeholder has begun: until then a black square would puzzle. */
function isPlaying(box: HTMLElement): boolean {
  const video = box.parentElement?.querySelector<HTMLVideoElement>("video.remote");
  return video !== null && video !== undefined && video.videoWidth > 0;
}

function placeholderText({ session }: CallContext, other: Party, oneWay: boolean): string {
  if (!other.connected) return t.call.remoteAway(other.display_name);
  if (oneWay) return t.call.oneWayChipExpert;
  if (session.snapshot.mode === "audio") return other.display_name;
  return other.video ? t.call.pictureComing : t.call.remoteCameraOff(other.display_name);
}

function localVideo({ session, scope }: CallContext): HTMLElement {
  const video = h("video", {
    class: "local",
    autoplay: true,
    playsinline: true,
    testid: "local-video",
    "aria-label": t.call.you,
  });
  video.muted = true;
  const attach = (track: MediaStreamTrack | null) => {
    video.srcObject = track ? new MediaStream([track]) : null;
    show(video, track !== null);
  };
  scope.add(
    session.media.on("local", ({ kind, track }) => {
      if (kind === "video") attach(track);
    }),
  );
  attach(session.media.devices.get("video"));
  return video;
}

/** The expert has answered: the start button opens camera and microphone (T20, T21). */
export function readyPanel({ session, scope }: CallContext): HTMLElement {
  const { mode, customer } = session.snapshot;
  const video = mode === "video";
  const failure = h("p", { class: "form-error", role: "alert" });
  const start = (devices: { audio: boolean; video: boolean }) => async () => {
    setText(failure, "");
    await session.start(devices).catch((error: unknown) => setText(failure, errorText(error)));
  };
  const panel = h(
    "div",
    { class: "waiting" },
    avatar(customer.display_name, customer.user_id, "large"),
    h("p", { class: "overlay-title" }, t.call.readyTitle(customer.display_name)),
    h("p", { class: "overlay-hint" }, video ? t.call.readyHint : t.call.readyHintAudio),
    failure,
    h(
      "div",
      { class: "row wrap center" },
      button(t.call.startButton, {
        kind: "primary",
        class: "large",
        testid: "start",
        action: start({ audio: true, video }),
      }),
      video
        ? button(t.call.startAudio, { testid: "start-audio", action: start({ audio: true, video: false }) })
        : null,
    ),
  );
  const follow = () => show(panel, phaseOf(session.snapshot) === "ready");
  scope.add(session.on("updated", follow));
  follow();
  return panel;
}
