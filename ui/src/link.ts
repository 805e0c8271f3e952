// SPDX-License-Identifier: GPL-2.0-or-later
// The WebSocket to the gateway: opens with the token, decodes events, sends orders, comes back after
// a crash with growing pauses.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { signal } from "@preact/signals";
import { type Done, EventSchema, OrderSchema, Refusal } from "../gen/ui_pb";
import { onEvent, state } from "./store";

export type LinkState = "opening" | "open" | "lost" | "stopped" | "full" | "denied" | "outdated" | "no-token";
export const link = signal<LinkState>("opening");

const PROTOCOL = "mvpn.ui.1";
const CLOSE_STOPPED = 1001;
const CLOSE_NOT_UNDERSTOOD = [1002, 1003];
const CLOSE_TOKEN = 4401;
const CLOSE_FULL = 4429;
const PAUSE_MS = { first: 200, most: 5000, growth: 1.6 };
const ANSWER_MS = 8000;

type Body = NonNullable<MessageInitShape<typeof OrderSchema>["body"]>;

let socket: WebSocket | null = null;
let pause = PAUSE_MS.first;
let timer = 0;
let nextId = 1;
const waiting = new Map<number, (d: Done | null) => void>();

/** From the address's fragment into the tab's own storage, so that it stands in no history. */
export function tokenFromAddress(): void {
  const token = /^#t=([\w-]{43})$/.exec(location.hash)?.[1];
  if (token) sessionStorage.setItem("token", token);
  if (location.hash) history.replaceState(null, "", location.pathname);
}

export function setToken(text: string): boolean {
  const token = /(?:^|#t=)([\w-]{43})$/.exec(text.trim())?.[1];
  if (!token) return false;
  sessionStorage.setItem("token", token);
  pause = PAUSE_MS.first;
  open();
  return true;
}

function settle(id: number, d: Done | null): void {
  const f = waiting.get(id);
  waiting.delete(id);
  f?.(d);
}

export function open(): void {
  const token = sessionStorage.getItem("token");
  clearTimeout(timer);
  if (!token) {
    link.value = "no-token";
    return;
  }
  const s = new WebSocket(`ws://${location.host}/`, [PROTOCOL, `auth.${token}`]);
  s.binaryType = "arraybuffer";
  s.onmessage = (m: MessageEvent<ArrayBuffer>) => {
    if (socket !== s) return;
    const e = fromBinary(EventSchema, new Uint8Array(m.data));
    if (e.body.case === "welcome") {
      link.value = "open";
      pause = PAUSE_MS.first;
    }
    if (e.body.case === "done") settle(e.body.value.id, e.body.value);
    else onEvent(e);
  };
  s.onclose = (c) => {
    if (socket === s) closed(c.code);
  };
  socket?.close();
  socket = s;
}

function closed(code: number): void {
  socket = null;
  for (const id of [...waiting.keys()]) settle(id, null);
  if (code === CLOSE_TOKEN) {
    sessionStorage.removeItem("token");
    link.value = "denied";
    return;
  }
  if (CLOSE_NOT_UNDERSTOOD.includes(code)) link.value = "outdated";
  else if (code === CLOSE_FULL) link.value = "full";
  else link.value = code === CLOSE_STOPPED ? "stopped" : "lost";
  timer = window.setTimeout(open, pause * (0.75 + Math.random() / 2));
  pause = Math.min(pause * PAUSE_MS.growth, PAUSE_MS.most);
}

/** A tab that was asleep, or a machine: do not wait for the rest of a long pause. */
export function retryNow(): void {
  if (document.visibilityState === "visible" && socket === null && link.value !== "denied" && link.value !== "no-token") {
    pause = PAUSE_MS.first;
    open();
  }
}

/** The answer, or null if none came (the banner says why). */
export function order(body: Body): Promise<Done | null> {
  const id = nextId++;
  if (socket === null || socket.readyState !== WebSocket.OPEN) return Promise.resolve(null);
  socket.send(toBinary(OrderSchema, create(OrderSchema, { id, body })));
  return new Promise((resolve) => {
    waiting.set(id, resolve);
    setTimeout(() => settle(id, null), ANSWER_MS);
  });
}

export const complaint = signal<{ refusal: Refusal; why: string } | null>(null);

/** An order whose refusal is shown to the user. True if it was taken. */
export async function command(body: Body): Promise<boolean> {
  const d = await order(body);
  complaint.value = d !== null && d.refusal !== Refusal.NONE ? { refusal: d.refusal, why: d.why } : null;
  return d?.refusal === Refusal.NONE;
}

/** Route settings are one section: change some, keep the others. */
export function commandRoute(change: { hops?: number; exitCountries?: string[]; hopIntervalS?: number }): Promise<boolean> {
  const r = state.value?.settings?.route;
  if (!r) return Promise.resolve(false);
  const { hops, exitCountries, hopIntervalS } = r;
  return command({ case: "route", value: { hops, exitCountries, hopIntervalS, ...change } });
}
