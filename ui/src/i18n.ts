// SPDX-License-Identifier: GPL-2.0-or-later
// Words and numbers in the user's language. A catalogue is a typed object; English is always there,
// the others are loaded when they are wanted. Numbers, units and countries come from Intl.
import { computed, signal } from "@preact/signals";
import { en } from "./text/en";

export type Text = typeof en;
export const languages = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof languages;

const loaders: Record<Language, () => Promise<Text>> = {
  en: async () => en,
  de: async () => (await import("./text/de")).de,
};

function preferred(): Language {
  const wanted = [localStorage.getItem("language") ?? "", ...navigator.languages];
  for (const w of wanted) {
    const l = w.slice(0, 2);
    if (l in languages) return l as Language;
  }
  return "en";
}

export const language = signal<Language>("en");
const catalogue = signal<Text>(en);
export const t = computed(() => catalogue.value);

export async function setLanguage(l: Language, remember: boolean): Promise<void> {
  catalogue.value = await loaders[l]();
  language.value = l;
  document.documentElement.lang = l;
  if (remember) localStorage.setItem("language", l);
}

export const startLanguage = () => setLanguage(preferred(), false);

/** "{n} of {m}" with values put in. */
export function fill(s: string, values: Record<string, string | number>): string {
  return s.replace(/\{(\w+)\}/g, (_, k: string) => String(values[k] ?? ""));
}

const regions = computed(() => new Intl.DisplayNames([language.value], { type: "region" }));
export function country(code: string): string {
  if (!/^[A-Z]{2}$/.test(code)) return t.value.unknownCountry;
  return regions.value.of(code) ?? code;
}

function number(options: Intl.NumberFormatOptions) {
  return computed(() => new Intl.NumberFormat(language.value, options));
}
const plain = number({ maximumFractionDigits: 0 });
const three = number({ maximumSignificantDigits: 3 });
const percent = number({ style: "percent", maximumFractionDigits: 0 });
const finePercent = number({ style: "percent", maximumFractionDigits: 1 });

export const count = (n: number | bigint) => plain.value.format(n);
export const share = (x: number) => percent.value.format(x);
export const loss = (ppm: number) => finePercent.value.format(ppm / 1e6);

export function milliseconds(us: number): string {
  if (us === 0) return "–";
  const ms = us / 1000;
  return `${ms < 10 ? three.value.format(ms) : count(Math.round(ms))}\u00a0ms`;
}

function scaled(n: number, base: number, units: readonly string[]): string {
  let i = 0;
  while (n >= base && i + 1 < units.length) {
    n /= base;
    i++;
  }
  return `${i === 0 ? count(n) : three.value.format(n)}\u00a0${units[i]}`;
}
export const bytes = (n: number | bigint) => scaled(Number(n), 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
/** Bytes a second, shown as bits as everybody does for speed. */
export const rate = (Bps: number) => scaled(8 * Bps, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]);
/** Decimal gwei; 10^9 of them are one coin. */
export function gwei(n: number | bigint | string): string {
  const v = Number(n);
  if (v >= 1e9) return `${three.value.format(v / 1e9)}\u00a0${t.value.coins}`;
  return `${v < 1000 ? three.value.format(v) : count(Math.round(v))}\u00a0gwei`;
}

export function elapsed(s: number): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const h = Math.floor(s / 3600);
  const m = Math.floor(s / 60) % 60;
  if (h >= 48) return fill(t.value.days, { n: count(Math.floor(h / 24)) });
  return h > 0 ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}
