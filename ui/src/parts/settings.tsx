// SPDX-License-Identifier: GPL-2.0-or-later
// What is set once and then left alone.
import { useState } from "preact/hooks";
import type { Pay, Prices } from "../../gen/ui_pb";
import { fill, t } from "../i18n";
import { command, commandRoute, link } from "../link";
import { state } from "../store";
import { Toggle } from "./toggle";

const INTERVALS_S = [0, 300, 600, 1800, 3600, 21600];

function Interval() {
  const wanted = state.value?.settings?.route?.hopIntervalS ?? 0;
  const known = INTERVALS_S.includes(wanted) ? INTERVALS_S : [...INTERVALS_S, wanted].sort((a, b) => a - b);
  return (
    <label class="field">
      {t.value.interval}
      <select value={wanted} onChange={(e) => void commandRoute({ hopIntervalS: Number(e.currentTarget.value) })}>
        {known.map((s) => (
          <option key={s} value={s}>
            {s === 0 ? t.value.never : fill(t.value.minutes, { n: Math.round(s / 6) / 10 })}
          </option>
        ))}
      </select>
    </label>
  );
}

function Amount(p: { name: string; label: string; value: bigint; hint?: string }) {
  return (
    <label class="field">
      <span>
        {p.label} {p.hint && <small class="hint">{p.hint}</small>}
      </span>
      <input name={p.name} type="number" min="0" step="1" inputMode="numeric" defaultValue={String(p.value)} required />
    </label>
  );
}

function amounts(form: HTMLFormElement): Record<string, bigint> {
  const out: Record<string, bigint> = {};
  for (const i of form.querySelectorAll<HTMLInputElement>("input[type=number]")) out[i.name] = BigInt(i.value || "0");
  return out;
}

/** Numbers are sent together, by a button. A value changed elsewhere makes the form anew. */
function Form(p: { children: preact.ComponentChildren; onSave: (a: Record<string, bigint>) => Promise<boolean> }) {
  const [saved, setSaved] = useState(false);
  return (
    <form
      onInput={() => setSaved(false)}
      onSubmit={(e) => {
        e.preventDefault();
        void p.onSave(amounts(e.currentTarget as HTMLFormElement)).then(setSaved);
      }}
    >
      {p.children}
      <div class="save">
        <span role="status" class="hint">
          {saved && t.value.saved}
        </span>
        <button type="submit" disabled={link.value !== "open"}>
          {t.value.save}
        </button>
      </div>
    </form>
  );
}

function Caps(p: { pay: Pay }) {
  return (
    <Form
      onSave={(a) =>
        command({ case: "pay", value: { on: p.pay.on, priceMaxGweiPerGib: a.price ?? 0n, spendMaxGweiPerDay: a.day ?? 0n } })
      }
    >
      <Amount name="price" label={t.value.priceCap} value={p.pay.priceMaxGweiPerGib} hint={t.value.noCap} />
      <Amount name="day" label={t.value.dayCap} value={p.pay.spendMaxGweiPerDay} hint={t.value.noCap} />
    </Form>
  );
}

function OwnPrices(p: { prices: Prices }) {
  const { entryGweiPerGib, middleGweiPerGib, exitGweiPerGib } = p.prices;
  const now = { earn: p.prices.earn, entryGweiPerGib, middleGweiPerGib, exitGweiPerGib };
  return (
    <>
      <Toggle
        label={t.value.earn}
        on={p.prices.earn}
        disabled={link.value !== "open"}
        onChange={(earn) => void command({ case: "prices", value: { ...now, earn } })}
      />
      {p.prices.earn && (
        <Form
          onSave={(a) =>
            command({
              case: "prices",
              value: {
                ...now,
                entryGweiPerGib: a.entry ?? 0n,
                middleGweiPerGib: a.middle ?? 0n,
                exitGweiPerGib: a.exit ?? 0n,
              },
            })
          }
        >
          <p class="field-label">{t.value.ownPrices}</p>
          <Amount name="entry" label={t.value.asEntry} value={entryGweiPerGib} />
          <Amount name="middle" label={t.value.asMiddle} value={middleGweiPerGib} />
          <Amount name="exit" label={t.value.asExit} value={exitGweiPerGib} />
        </Form>
      )}
    </>
  );
}

export function Settings() {
  const s = state.value?.settings;
  if (!s?.pay || !s.prices) return null;
  return (
    <section class="card">
      <details>
        <summary>
          <h2>{t.value.settings}</h2>
        </summary>
        <Interval />
        <Caps key={`${s.pay.priceMaxGweiPerGib}-${s.pay.spendMaxGweiPerDay}`} pay={s.pay} />
        <OwnPrices
          key={`${s.prices.entryGweiPerGib}-${s.prices.middleGweiPerGib}-${s.prices.exitGweiPerGib}`}
          prices={s.prices}
        />
      </details>
    </section>
  );
}
