// SPDX-License-Identifier: GPL-2.0-or-later
// The way that traffic takes: this device, the hops, the internet.
import type { HopInfo } from "../../gen/types_pb";
import { Phase } from "../../gen/ui_pb";
import { count, country, fill, gwei, loss, milliseconds, share, t } from "../i18n";
import { command, link } from "../link";
import { address, hops, payment, phase, state } from "../store";

const LOSS_SHOWN_PPM = 5000; // half a percent: what one begins to feel

function role(i: number, n: number): string {
  return i === n - 1 ? t.value.exitHop : i === 0 ? t.value.entry : t.value.middle;
}

function Paid(p: { hop: HopInfo }) {
  const paid = payment(p.hop);
  if (!paid || paid.tickets === 0) return <span class="hint">{t.value.nothingPaid}</span>;
  const tickets = paid.tickets === 1 ? t.value.ticketOne : fill(t.value.tickets, { n: count(paid.tickets) });
  return <span class="hint">{fill(t.value.paid, { amount: gwei(paid.paid), tickets })}</span>;
}

function Hop(p: { hop: HopInfo; i: number; n: number; total: number }) {
  const h = p.hop;
  const price = Number(h.priceGweiPerGib);
  return (
    <li class="hop">
      <span class="dot" aria-hidden="true">
        {h.country || "?"}
      </span>
      <div class="hop-what">
        <strong>{country(h.country)}</strong>
        <span class="hint">
          {role(p.i, p.n)} · {h.name || "–"}
          {h.asn > 0 && <> · AS{h.asn}</>}
        </span>
        <Paid hop={h} />
      </div>
      <div class="hop-figures">
        <span title={t.value.latency}>{milliseconds(h.rttUs)}</span>
        {h.lossPpm >= LOSS_SHOWN_PPM && <span class="warn">{fill(t.value.lossWord, { loss: loss(h.lossPpm) })}</span>}
        <span class="hint" title={t.value.price}>
          {price === 0 ? t.value.free : gwei(price)}
        </span>
        {p.total > 0 && price > 0 && <span class="hint">{fill(t.value.ofPrice, { share: share(price / p.total) })}</span>}
      </div>
    </li>
  );
}

export function Route() {
  const list = hops.value;
  const s = state.value?.session;
  const total = list.reduce((a, h) => a + Number(h.priceGweiPerGib), 0);
  const seen = s ? address(s.exitAddress) : "";
  const stale = phase.value !== Phase.ON;
  return (
    <section class={`card route ${stale ? "stale" : ""}`} aria-labelledby="route-title">
      <div class="card-head">
        <h2 id="route-title">
          {t.value.route} {list.length > 0 && stale && <small>({t.value.lastKnown})</small>}
        </h2>
        <button
          type="button"
          id="new-route"
          disabled={phase.value !== Phase.ON || link.value !== "open"}
          onClick={() => void command({ case: "newRoute", value: {} })}
        >
          {t.value.newRoute}
        </button>
      </div>
      {list.length === 0 ? (
        <p class="empty">{phase.value === Phase.OFF ? t.value.noRoute : t.value.noRouteYet}</p>
      ) : (
        <ol class="hops">
          <li class="hop end">
            <span class="dot" aria-hidden="true" />
            <div class="hop-what">
              <strong>{t.value.you}</strong>
              <span class="hint">{t.value.youDetail}</span>
            </div>
          </li>
          {list.map((h, i) => (
            <Hop key={`${i}-${h.session}`} hop={h} i={i} n={list.length} total={total} />
          ))}
          <li class="hop end">
            <span class="dot" aria-hidden="true" />
            <div class="hop-what">
              <strong>{t.value.world}</strong>
              <span class="hint" id="seen">
                {seen ? fill(t.value.worldDetail, { address: seen }) : t.value.worldUnknown}
              </span>
            </div>
          </li>
        </ol>
      )}
      {list.length > 0 && (s?.reasons.length ?? 0) > 0 && (
        <p class="hint chosen-for">
          {fill(t.value.chosenFor, { reasons: "" })}
          <span lang="en">{s!.reasons.join("; ")}</span>
        </p>
      )}
    </section>
  );
}
