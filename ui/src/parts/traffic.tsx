// SPDX-License-Identifier: GPL-2.0-or-later
// Throughput now and over the last minutes. The chart reads its colours when it is made, so a change
// of theme makes it anew.
import { useEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { Phase } from "../../gen/ui_pb";
import { bytes, fill, language, rate, t } from "../i18n";
import { link } from "../link";
import { phase, samples, state } from "../store";
import { dark } from "../theme";

const HEIGHT_PX = 150;
const LEAST_TOP_BPS = 12500; // 100 kbit/s: silence is a flat line, not noise blown up
const span = signal(120);

function data(): uPlot.AlignedData {
  const n = span.value;
  const pad = (v: (number | null)[]) => [...Array<null>(Math.max(0, n - v.length)).fill(null), ...v.slice(-n)];
  const x = Array.from({ length: n }, (_, i) => i - n + 1);
  return [x, pad(samples.value.rx), pad(samples.value.tx)];
}

function ago(s: number): string {
  return s === 0 ? "0" : Math.abs(s) >= 60 && s % 60 === 0 ? `${s / 60}\u00a0min` : `${s}\u00a0s`;
}

function options(width: number): uPlot.Options {
  const css = getComputedStyle(document.documentElement);
  const color = (name: string) => css.getPropertyValue(name).trim();
  const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  return {
    width,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { show: false },
    select: { show: false, left: 0, top: 0, width: 0, height: 0 },
    scales: { x: { time: false }, y: { range: (_u, _min, max) => [0, Math.max(max ?? 0, LEAST_TOP_BPS) * 1.1] } },
    axes: [
      { ...axis, size: 26, values: (_u, v) => v.map(ago), grid: { show: false } },
      { ...axis, size: 84, splits: (_u, _i, _min, max) => [0, max / 2.2, max / 1.1], values: (_u, v) => v.map((x) => rate(x)) },
    ],
    series: [
      {},
      { stroke: color("--accent"), fill: color("--accent-fill"), width: 2, points: { show: false } },
      { stroke: color("--second"), width: 2, points: { show: false } },
    ],
  };
}

function Chart() {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const key = `${dark.value}-${language.value}`;
  useEffect(() => {
    const el = place.current!;
    const u = new uPlot(options(el.clientWidth), data(), el);
    chart.current = u;
    const resize = new ResizeObserver(() => u.setSize({ width: el.clientWidth, height: HEIGHT_PX }));
    resize.observe(el);
    return () => {
      resize.disconnect();
      u.destroy();
      chart.current = null;
    };
  }, [key]);
  useEffect(() => {
    chart.current?.setData(data());
  }, [samples.value, span.value]);
  return <div ref={place} class="chart" />;
}

export function Traffic() {
  const { rx, tx } = samples.value;
  const on = phase.value === Phase.ON && link.value === "open";
  const known = link.value === "open" && phase.value !== Phase.UNKNOWN;
  const figure = (v: (number | null)[]) => (known ? rate(on ? (v.at(-1) ?? 0) : 0) : "–");
  const [down, up] = [figure(rx), figure(tx)];
  const s = state.value?.session;
  return (
    <section class="card" aria-labelledby="traffic-title">
      <div class="card-head">
        <h2 id="traffic-title">{t.value.traffic}</h2>
        <label class="range">
          <span class="hidden">{t.value.range}</span>
          <select value={span.value} onChange={(e) => (span.value = Number(e.currentTarget.value))}>
            {Object.entries(t.value.ranges).map(([s, words]) => (
              <option key={s} value={s}>
                {words}
              </option>
            ))}
          </select>
        </label>
      </div>
      <dl class="figures">
        <div class="rx">
          <dt>{t.value.down}</dt>
          <dd>{down}</dd>
          <dd class="hint">{on && s && fill(t.value.total, { bytes: bytes(s.rxBytes) })}</dd>
        </div>
        <div class="tx">
          <dt>{t.value.up}</dt>
          <dd>{up}</dd>
          <dd class="hint">{on && s && fill(t.value.total, { bytes: bytes(s.txBytes) })}</dd>
        </div>
      </dl>
      <div role="img" aria-label={fill(t.value.chart, { down, up })}>
        <Chart />
      </div>
    </section>
  );
}
