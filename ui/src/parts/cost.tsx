// SPDX-License-Identifier: GPL-2.0-or-later
import { gwei, t } from "../i18n";
import { command, link } from "../link";
import { hops, payment, state } from "../store";
import { Toggle } from "./toggle";

function Figure(p: { name: string; value: string }) {
  return (
    <div>
      <dt>{p.name}</dt>
      <dd>{p.value}</dd>
    </div>
  );
}

export function Cost() {
  const w = state.value?.wallet;
  const pay = state.value?.settings?.pay;
  const route = hops.value.reduce((a, h) => a + Number(payment(h)?.paid ?? 0), 0);
  const price = hops.value.reduce((a, h) => a + Number(h.priceGweiPerGib), 0);
  return (
    <section class="card" aria-labelledby="cost-title">
      <h2 id="cost-title">{t.value.cost}</h2>
      <dl class="figures four">
        <Figure name={t.value.perGib} value={hops.value.length === 0 ? "–" : price === 0 ? t.value.free : gwei(price)} />
        <Figure name={t.value.thisRoute} value={hops.value.length === 0 ? "–" : gwei(route)} />
        <Figure name={t.value.today} value={w ? gwei(w.spentToday || "0") : "–"} />
        <Figure name={t.value.inAll} value={w ? gwei(w.spent || "0") : "–"} />
      </dl>
      {pay && (
        <Toggle
          label={t.value.pay}
          hint={t.value.payHint}
          on={pay.on}
          disabled={link.value !== "open"}
          onChange={(on) =>
            void command({
              case: "pay",
              value: { on, priceMaxGweiPerGib: pay.priceMaxGweiPerGib, spendMaxGweiPerDay: pay.spendMaxGweiPerDay },
            })
          }
        />
      )}
      {w?.trouble && (
        <p class="warn" lang="en">
          {w.trouble}
        </p>
      )}
      {w?.backend === "none" && <p class="hint">{t.value.backendNone}</p>}
    </section>
  );
}
