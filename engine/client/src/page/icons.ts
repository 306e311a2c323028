const PATHS = {
  microphone: [
    "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3z",
    "M5.5 11a6.5 6.5 0 0 0 13 0",
    "M12 17.5V21",
  ],
  camera: [
    "M4.5 6.5h9a1.5 1.5 0 0 1 1.5 1.5v8a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 3 16V8a1.5 1.5 0 0 1 1.5-1.5z",
    "M15 11l6-3.5v9L15 13",
  ],
  record: ["M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16z", "M12 10.5a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3z"],
  off: ["M4 4l16 16"],
  phone: [
    "M6 3.5h3l1.5 4.2-2 1.6a12 12 0 0 0 6.2 6.2l1.6-2 4.2 1.5v3A2 2 0 0 1 18.3 20 15 15 0 0 1 4 5.7 2 2 0 0 1 6 3.5z",
  ],
  hangup: [
    "M3.2 14.8c-.8-1-.8-2.3.2-3.1 5-4 12.2-4 17.2 0 1 .8 1 2.1.2 3.1l-.6.7a1.5 1.5 0 0 1-1.7.4l-2.6-1a1.5 1.5 0 0 1-.9-1.5l.1-1.6a9.5 9.5 0 0 0-6.2 0l.1 1.6a1.5 1.5 0 0 1-.9 1.5l-2.6 1a1.5 1.5 0 0 1-1.7-.4z",
  ],
  chat: [
    "M5 4.5h14a1.5 1.5 0 0 1 1.5 1.5v9a1.5 1.5 0 0 1-1.5 1.5h-7L7.5 20v-3.5H5A1.5 1.5 0 0 1 3.5 15V6A1.5 1.5 0 0 1 5 4.5z",
  ],
  send: ["M4 12l16-7.5L16.5 20l-4.5-6z", "M12 14l8-9.5"],
  wallet: [
    "M5 7.5h13.5A1.5 1.5 0 0 1 20 9v9a1.5 1.5 0 0 1-1.5 1.5h-13A2.5 2.5 0 0 1 3 17V7a2.5 2.5 0 0 1 2.5-2.5H17v3",
    "M16 13.5h.01",
  ],
  swap: ["M4 8.5h14l-3-3", "M20 15.5H6l3 3"],
  clock: ["M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16z", "M12 8v4.5l3 1.8"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  alert: ["M12 4.5l8.5 15h-17z", "M12 10.5v4", "M12 17h.01"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  plus: ["M12 5v14", "M5 12h14"],
  printer: [
    "M7 9V4h10v5",
    "M7 17H4.5v-6A1.5 1.5 0 0 1 6 9.5h12a1.5 1.5 0 0 1 1.5 1.5v6H17",
    "M7 14.5h10V20H7z",
  ],
  bell: ["M6.5 16.5V11a5.5 5.5 0 0 1 11 0v5.5l1.5 1.5H5z", "M10.5 20.5h3"],
  signout: [
    "M14 4.5H6A1.5 1.5 0 0 0 4.5 6v12A1.5 1.5 0 0 0 6 19.5h8",
    "M10 12h10.5l-3.5-3.5",
    "M20.5 12L17 15.5",
  ],
  heart: ["M12 20s-7.5-4.6-7.5-10A4.2 4.2 0 0 1 12 7.4 4.2 4.2 0 0 1 19.5 10c0 5.4-7.5 10-7.5 10z"],
  pause: ["M8.5 5.5v13", "M15.5 5.5v13"],
} as const;

export type IconName = keyof typeof PATHS;

const SVG = "http://www.w3.org/2000/svg";

/** A decorative line icon: what it means is said by the button's label. */
export function icon(...names: IconName[]): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const data of names.flatMap((name) => [...PATHS[name]])) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", data);
    svg.append(path);
  }
  return svg;
}
