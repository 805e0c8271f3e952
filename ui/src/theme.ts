// SPDX-License-Identifier: GPL-2.0-or-later
// Light or dark: the system's wish unless the user said otherwise.
import { computed, effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
const stored = localStorage.getItem("theme");
export const theme = signal<Theme>(stored === "light" || stored === "dark" ? stored : "auto");

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const system = signal(systemDark.matches);
systemDark.addEventListener("change", (e) => {
  system.value = e.matches;
});

export const dark = computed(() => (theme.value === "auto" ? system.value : theme.value === "dark"));

export function setTheme(to: Theme): void {
  theme.value = to;
  localStorage.setItem("theme", to);
}

// At once, before anything is drawn with the colours: the chart reads them when it is made.
effect(() => {
  document.documentElement.dataset.theme = dark.value ? "dark" : "light";
});
