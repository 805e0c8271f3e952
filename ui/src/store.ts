// SPDX-License-Identifier: GPL-2.0-or-later
// What the gateway said, as signals that the parts of the page read.
import { computed, signal } from "@preact/signals";
import type { Exit, HopPayment } from "../gen/gateway_pb";
import type { HopInfo } from "../gen/types_pb";
import { type Event, Phase, type State, type Welcome } from "../gen/ui_pb";

export const welcome = signal<Welcome | null>(null);
export const state = signal<State | null>(null);
const stateAt = signal(0);
export const exits = signal<Exit[] | null>(null);
export const now = signal(Date.now());

/** Throughput, one value a second, the newest last; null: not known. */
export const KEPT_S = 3600;
export const samples = signal<{ rx: (number | null)[]; tx: (number | null)[] }>({ rx: [], tx: [] });

let gathering: Exit[] = [];

function known(values: bigint[]): (number | null)[] {
  return values.map((v) => (v < 0n ? null : Number(v)));
}

export function onEvent(e: Event): void {
  const b = e.body;
  switch (b.case) {
    case "welcome":
      welcome.value = b.value;
      samples.value = { rx: [], tx: [] }; // all that is remembered follows
      break;
    case "state":
      state.value = b.value;
      stateAt.value = now.value = Date.now();
      break;
    case "samples": {
      const { rx, tx } = samples.value;
      samples.value = {
        rx: [...rx, ...known(b.value.rxBps)].slice(-KEPT_S),
        tx: [...tx, ...known(b.value.txBps)].slice(-KEPT_S),
      };
      break;
    }
    case "exits":
      if (b.value.first) gathering = [];
      gathering.push(...(b.value.list?.exits ?? []));
      if (!b.value.list?.more) exits.value = gathering;
      break;
  }
}

/** Seconds since State was made, to add to what it calls "since". */
export const age = computed(() => Math.max(0, Math.floor((now.value - stateAt.value) / 1000)));

export const phase = computed(() => state.value?.phase ?? Phase.UNKNOWN);

/** The route in use; empty when there is none. */
export const hops = computed<HopInfo[]>(() => {
  const p = phase.value;
  if (p === Phase.OFF || p === Phase.FAILED || p === Phase.CONNECTING) return [];
  return state.value?.session?.hops ?? [];
});

export function payment(h: HopInfo): HopPayment | undefined {
  return state.value?.wallet?.hops.find((p) => p.session === h.session && h.session !== 0n);
}

export function address(b: Uint8Array): string {
  if (b.length === 4) return b.join(".");
  if (b.length !== 16) return "";
  const words = Array.from({ length: 8 }, (_, i) => ((b[2 * i] ?? 0) << 8) | (b[2 * i + 1] ?? 0));
  // The longest run of zeros becomes "::" (RFC 5952).
  let at = -1;
  let len = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && words[i + n] === 0) n++;
    if (n > len) [at, len] = [i, n];
  }
  const hex = (w: number[]) => w.map((x) => x.toString(16)).join(":");
  return at < 0 ? hex(words) : `${hex(words.slice(0, at))}::${hex(words.slice(at + len))}`;
}
