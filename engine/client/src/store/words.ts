import type { Language } from "../page/language";
import { market as enMarket, type MarketWords } from "./words/en-market";
import { trade as enTrade, type TradeWords } from "./words/en-trade";
import { market as faMarket } from "./words/fa-market";
import { trade as faTrade } from "./words/fa-trade";
import { market as trMarket } from "./words/tr-market";
import { trade as trTrade } from "./words/tr-trade";

export type Words = MarketWords & TradeWords;

const TABLES: Record<Language, Words> = {
  en: { ...enMarket, ...enTrade },
  tr: { ...trMarket, ...trTrade },
  fa: { ...faMarket, ...faTrade },
};

/** What the storefront says beside the words that it shares with the call page (page/strings.ts). */
export let w: Words = TABLES.en;

export function speakStore(code: Language): void {
  w = TABLES[code];
}
