// SPDX-License-Identifier: GPL-2.0-or-later
// The one switch, what state it led to and why, and what is wanted of the route.
import { Cause, Phase } from "../../gen/ui_pb";
import { elapsed, fill, t } from "../i18n";
import { command, commandRoute, link } from "../link";
import { age, phase, state } from "../store";
import { ExitPicker } from "./exits";

const looks: Record<Phase, string> = {
  [Phase.UNSPECIFIED]: "unknown",
  [Phase.UNKNOWN]: "unknown",
  [Phase.OFF]: "off",
  [Phase.CONNECTING]: "busy",
  [Phase.ON]: "on",
  [Phase.RECONNECTING]: "busy",
  [Phase.FAILED]: "failed",
};

/** Why it is so: the gateway's own reasons in the user's language, the router's in its words. */
function Reason() {
  const s = state.value;
  if (!s) return null;
  const own = t.value.cause[s.cause];
  const words = s.cause === Cause.ROUTER || s.cause === Cause.REFUSED ? s.reason : "";
  return (
    <p class="reason">
      {own} {words && <span lang="en">{words}</span>}
    </p>
  );
}

function Since() {
  const s = state.value;
  const p = phase.value;
  if (!s || p === Phase.OFF) return null;
  const took = s.session?.connectMs ?? 0;
  const seconds = new Intl.NumberFormat(document.documentElement.lang, {
    style: "unit",
    unit: "second",
    maximumSignificantDigits: 2,
  });
  return (
    <p class="since">
      {fill(t.value.since, { time: elapsed(s.sinceS + age.value) })}
      {p === Phase.ON && took > 0 && <> · {fill(t.value.connectTook, { time: seconds.format(took / 1000) })}</>}
    </p>
  );
}

function HopChoice() {
  const wanted = state.value?.settings?.route?.hops ?? 3;
  return (
    <fieldset class="segments" disabled={link.value !== "open"}>
      <legend>{t.value.hops}</legend>
      {[1, 2, 3].map((n) => (
        <label key={n}>
          <input type="radio" name="hops" value={n} checked={wanted === n} onChange={() => void commandRoute({ hops: n })} />
          <span>
            {n} <small>{t.value.hopModes[n]}</small>
          </span>
        </label>
      ))}
    </fieldset>
  );
}

export function Power() {
  const p = phase.value;
  const wanted = state.value?.settings?.switched?.on ?? false;
  const there = link.value === "open" && state.value !== null;
  return (
    <section class={`card power ${there ? looks[p] : "unknown"}`} aria-labelledby="phase">
      <div class="power-top">
        <button
          type="button"
          role="switch"
          id="power"
          aria-checked={wanted}
          aria-label={t.value.switchLabel}
          aria-describedby="phase"
          aria-busy={p === Phase.CONNECTING || p === Phase.RECONNECTING}
          disabled={!there}
          onClick={() => void command({ case: "switched", value: { on: !wanted } })}
        >
          <span class="knob" />
        </button>
        <div class="power-words">
          <div role="status">
            <h2 id="phase" data-phase={there ? Phase[p] : "AWAY"}>
              {t.value.phase[there ? p : Phase.UNKNOWN]}
            </h2>
            {there && <p>{t.value.phaseHint[p]}</p>}
            {there && <Reason />}
          </div>
          {there && <Since />}
        </div>
      </div>
      <div class="power-wants">
        <ExitPicker />
        <HopChoice />
      </div>
    </section>
  );
}
