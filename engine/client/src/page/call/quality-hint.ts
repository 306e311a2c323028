import type { HopFigures, LinkQuality } from "../../client";
import { h, show } from "../dom";
import { formatBitrate, formatDuration, ONE_DIGIT } from "../format";
import { formatNumber } from "../language";
import { t } from "../strings";
import { fact } from "../widgets";
import type { CallContext } from "./page";

/** Three bars about the connection; hovered, focused or tapped, the figures behind them (Escape closes). */
export function qualityHint({ session, scope }: CallContext): HTMLElement {
  const { media, snapshot } = session;
  const other = snapshot.role === "customer" ? snapshot.expert : snapshot.customer;
  const bars = h(
    "button",
    { type: "button", class: "quality", testid: "quality", "aria-describedby": "quality-figures" },
    h("span", { class: "bar" }),
    h("span", { class: "bar" }),
    h("span", { class: "bar" }),
  );
  const figures = h("div", {
    class: "quality-figures",
    role: "tooltip",
    id: "quality-figures",
    testid: "quality-figures",
  });
  const hint = h("div", { class: "quality-hint" }, bars, figures);
  const follow = () => {
    const { quality, connections } = media;
    bars.dataset.quality = quality;
    bars.setAttribute("aria-label", t.call.quality.label[quality]);
    figures.replaceChildren(h("strong", {}, t.call.quality.label[quality]));
    if (quality === "poor") figures.append(h("p", {}, t.call.quality.advice));
    if (connections)
      figures.append(
        party(t.call.quality.own, connections.own),
        party(t.call.quality.other(other.display_name), connections.other),
      );
  };
  show(hint, snapshot.mode !== "text");
  dismissable(hint, bars);
  scope.add(media.on("quality", follow));
  scope.add(media.on("connections", follow));
  follow();
  return hint;
}

/** Escape closes what is shown until the pointer or the focus comes anew (WCAG 1.4.13). */
function dismissable(hint: HTMLElement, bars: HTMLElement): void {
  const set = (dismissed: boolean) => hint.toggleAttribute("data-dismissed", dismissed);
  bars.addEventListener("keydown", ({ key }) => key === "Escape" && set(true));
  for (const event of ["focus", "pointerenter", "click"] as const)
    bars.addEventListener(event, () => set(false));
}

function party(name: string, link: LinkQuality): HTMLElement {
  const facts = h("dl", {});
  if (link.up) facts.append(fact(t.call.quality.up, hop(link.up)));
  if (link.down) facts.append(fact(t.call.quality.down, hop(link.down)));
  if (link.rtt_ms !== null) facts.append(fact(t.call.quality.rtt, `${Math.round(link.rtt_ms)} ms`));
  if (link.frozen_ms > 0) facts.append(fact(t.call.quality.frozen, formatDuration(link.frozen_ms / 1000)));
  return h("section", {}, h("h2", {}, `${name}: ${t.call.quality.level[link.level]}`), facts);
}

function hop({ bitrate_bps, loss, jitter_ms }: HopFigures): string {
  if (bitrate_bps === 0) return t.call.quality.nothing;
  const parts = [formatBitrate(bitrate_bps)];
  if (loss !== null) parts.push(t.call.quality.loss(formatNumber(100 * loss, ONE_DIGIT)));
  if (jitter_ms !== null) parts.push(t.call.quality.jitter(Math.round(jitter_ms)));
  return parts.join(", ");
}
