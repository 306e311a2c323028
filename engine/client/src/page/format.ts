/** Money, durations and times in words and figures, as the spoken language writes them. */
import { formatNumber, formats } from "./language";
import { t } from "./strings";

export function currencyDigits(currency: string): number {
  return formatter(currency).resolvedOptions().maximumFractionDigits ?? 2;
}

/** Minor units as people read them: `formatMoney(1200, "EUR")` is "€12.00". */
export function formatMoney(minor: number, currency: string): string {
  return formatter(currency).format(minor / 10 ** currencyDigits(currency));
}

/** Minor units as they are typed into a field: "12.00". */
export function moneyInput(minor: number, currency: string): string {
  const digits = currencyDigits(currency);
  return (minor / 10 ** digits).toFixed(digits);
}

/** What was typed into a field, in minor units; null when it is not a positive amount. */
export function parseMoney(text: string, currency: string): number | null {
  const digits = currencyDigits(currency);
  const match = /^(\d{1,9})(?:[.,](\d+))?$/.exec(plainDigits(text).replace(/[\s\u00a0]/g, ""));
  if (!match || (match[2]?.length ?? 0) > digits) return null;
  const minor = Number(match[1]) * 10 ** digits + Number((match[2] ?? "").padEnd(digits, "0") || 0);
  return minor > 0 ? minor : null;
}

/** A whole number as typed, in whichever digits; NaN when it is none. */
export function parseCount(text: string): number {
  const plain = plainDigits(text).trim();
  return /^\d{1,9}$/.test(plain) ? Number(plain) : Number.NaN;
}

/** Keyboards of Persian and Arabic type their own digits and decimal sign. */
function plainDigits(text: string): string {
  return text
    .replace(/[\u06f0-\u06f9\u0660-\u0669]/g, (digit) => String(digit.charCodeAt(0) & 0xf))
    .replace(/\u066b/g, ".");
}

/** A clock: "0:42", "14:05", "1:02:03". */
export function formatClock(totalSeconds: number): string {
  const seconds = Math.max(0, Math.floor(totalSeconds));
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const tail = String(seconds % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** A unit of time as a price names it: "15 min", "hour", "second". */
export function formatUnit(seconds: number): string {
  const { units } = t;
  if (seconds === 1) return units.second;
  if (seconds === 60) return units.minute;
  if (seconds === 3600) return units.hour;
  if (seconds % 3600 === 0) return part(seconds / 3600, units.h);
  return seconds % 60 === 0 ? part(seconds / 60, units.min) : part(seconds, units.s);
}

function part(count: number, unit: string): string {
  return `${formatNumber(count)} ${unit}`;
}

/** With one digit behind the point. */
export const ONE_DIGIT = { minimumFractionDigits: 1, maximumFractionDigits: 1 };

/** A bitrate: "48 kbit/s", "1.2 Mbit/s". */
export function formatBitrate(bps: number): string {
  if (bps < 1_000_000) return `${formatNumber(Math.round(bps / 1_000), { useGrouping: false })} kbit/s`;
  return `${formatNumber(bps / 1_000_000, ONE_DIGIT)} Mbit/s`;
}

/** How long something took: "45 s", "14 min 5 s", "1 h 2 min". */
export function formatDuration(totalSeconds: number): string {
  const { s, min, h } = t.units;
  const seconds = Math.max(0, Math.round(totalSeconds));
  if (seconds < 60) return part(seconds, s);
  const minutes = Math.floor(seconds / 60);
  if (seconds < 3600) return two(part(minutes, min), seconds % 60, s);
  return two(part(Math.floor(minutes / 60), h), minutes % 60, min);
}

function two(first: string, rest: number, unit: string): string {
  return rest ? `${first} ${part(rest, unit)}` : first;
}

/** The size of a file: "12 kB", "1.4 MB". */
export function formatSize(bytes: number): string {
  const [count, unit] =
    bytes < 1_000
      ? [bytes, "byte"]
      : bytes < 1_000_000
        ? [bytes / 1_000, "kilobyte"]
        : [bytes / 1e6, "megabyte"];
  const maximumFractionDigits = unit === "megabyte" ? 1 : 0;
  return formatNumber(count, { style: "unit", unit, maximumFractionDigits });
}

/** The days of the week, Monday first. */
export function weekdays(style: "long" | "short"): string[] {
  const format = new Intl.DateTimeFormat(formats(), { weekday: style, timeZone: "UTC" });
  // The first of January 2024 was a Monday.
  return Array.from({ length: 7 }, (_, day) => format.format(Date.UTC(2024, 0, 1 + day)));
}

/** Names of languages by their codes: "English, Persian". */
export function languageNames(codes: readonly string[]): string {
  const names = new Intl.DisplayNames(formats(), { type: "language" });
  const name = (code: string) => {
    try {
      return names.of(code) ?? code;
    } catch {
      return code;
    }
  };
  return formatList(codes.map(name));
}

/** One after the other, with the commas of the language. */
export function formatList(items: readonly string[]): string {
  return new Intl.ListFormat(formats(), { type: "unit", style: "short" }).format(items);
}

export function formatTime(rfc3339: string): string {
  return new Intl.DateTimeFormat(formats(), { hour: "2-digit", minute: "2-digit" }).format(new Date(rfc3339));
}

export function formatDateTime(rfc3339: string): string {
  return new Intl.DateTimeFormat(formats(), { dateStyle: "medium", timeStyle: "short" }).format(
    new Date(rfc3339),
  );
}

const formatters = new Map<string, Intl.NumberFormat>();

function formatter(currency: string): Intl.NumberFormat {
  const key = `${formats()} ${currency}`;
  const known = formatters.get(key);
  if (known) return known;
  const made = new Intl.NumberFormat(formats(), { style: "currency", currency });
  formatters.set(key, made);
  return made;
}
