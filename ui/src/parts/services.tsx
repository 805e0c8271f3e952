// SPDX-License-Identifier: GPL-2.0-or-later
import { Health } from "../../gen/ui_pb";
import { count, elapsed, fill, t } from "../i18n";
import { age, state } from "../store";

const looks: Record<Health, string> = {
  [Health.UNSPECIFIED]: "unknown",
  [Health.UP]: "up",
  [Health.DOWN]: "down",
  [Health.SILENT]: "silent",
};

export function Services() {
  const s = state.value;
  if (!s) return null;
  return (
    <section class="card node" aria-labelledby="services-title">
      <h2 id="services-title">{t.value.services}</h2>
      <ul class="services">
        {s.services.map((x) => (
          <li key={x.name} class={looks[x.health]} data-health={Health[x.health]}>
            <span class="lamp" aria-hidden="true" />
            <span>{t.value.service[x.name]}</span>
            <span class="hint">
              {t.value.health[x.health]}
              {x.health !== Health.UP && <> {fill(t.value.since, { time: elapsed(x.sinceS + age.value) })}</>}
              {x.refused && (
                <span class="warn" lang="en">
                  {" "}
                  {fill(t.value.refused, { why: x.refused })}
                </span>
              )}
            </span>
          </li>
        ))}
      </ul>
      {s.directory && (
        <p class="hint">
          {fill(t.value.relaysKnown, { relays: count(s.directory.nRelays), exits: count(s.directory.nExits) })}
        </p>
      )}
    </section>
  );
}
