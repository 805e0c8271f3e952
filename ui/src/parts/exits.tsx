// SPDX-License-Identifier: GPL-2.0-or-later
// Where traffic may leave: a button that opens a searchable list of the countries that have exits.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Exit } from "../../gen/gateway_pb";
import { count, country, fill, gwei, language, milliseconds, t } from "../i18n";
import { commandRoute, link, order } from "../link";
import { exits, state } from "../store";

const REFRESH_MS = 5000;
const COMBOBOX: object = { role: "combobox" }; // JSX's types know only the one with a <datalist>

interface Choice {
  code: string; // "": anywhere
  name: string;
  detail: string;
  usable: boolean;
}

function detail(of: Exit[]): string {
  const usable = of.filter((e) => e.usable);
  if (usable.length === 0) return fill(t.value.exitNone, { why: of[0]?.whyNot ?? "" });
  const n = usable.length === 1 ? t.value.exitOne : fill(t.value.exitCount, { n: count(usable.length) });
  const price = usable.reduce((a, e) => (e.priceGweiPerGib < a ? e.priceGweiPerGib : a), usable[0]!.priceGweiPerGib);
  const rtt = Math.min(...usable.map((e) => e.rttUs || Infinity));
  const cost = price === 0n ? t.value.free : fill(t.value.fromPrice, { price: gwei(price) });
  return [n, cost, ...(rtt < Infinity ? [milliseconds(rtt)] : [])].join(" · ");
}

function choices(all: Exit[]): Choice[] {
  const by = new Map<string, Exit[]>();
  for (const e of all) by.set(e.country, [...(by.get(e.country) ?? []), e]);
  const list = [...by]
    .filter(([code]) => code !== "")
    .map(([code, of]) => ({ code, name: country(code), detail: detail(of), usable: of.some((e) => e.usable) }));
  list.sort((a, b) => a.name.localeCompare(b.name, language.value));
  return [{ code: "", name: t.value.anywhere, detail: all.length > 0 ? detail(all) : "", usable: true }, ...list];
}

function matches(c: Choice, words: string): boolean {
  const plain = (s: string) => s.normalize("NFD").replace(/\p{M}/gu, "").toLocaleLowerCase();
  return plain(c.name).includes(plain(words)) || c.code.toLowerCase() === words.toLowerCase();
}

function List(p: { chosen: string[]; onChoose: (code: string) => void }) {
  const [words, setWords] = useState("");
  const [active, setActive] = useState(0);
  const all = useMemo(() => choices(exits.value ?? []), [exits.value, t.value]);
  const shown = all.filter((c) => words === "" || matches(c, words.trim()));
  const at = Math.min(active, shown.length - 1);
  useEffect(() => {
    document.getElementById(`exit-${at}`)?.scrollIntoView({ block: "nearest" });
  }, [at]);
  const keys = (e: KeyboardEvent) => {
    const moves: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 8, PageUp: at - 8 };
    const to = moves[e.key];
    if (to !== undefined) {
      setActive(Math.max(0, Math.min(shown.length - 1, to)));
      e.preventDefault();
    } else if (e.key === "Enter" && shown[at]) {
      p.onChoose(shown[at].code);
      e.preventDefault();
    }
  };
  return (
    <>
      <input
        type="search"
        {...COMBOBOX}
        aria-label={t.value.search}
        placeholder={t.value.search}
        aria-expanded="true"
        aria-controls="exit-list"
        aria-autocomplete="list"
        {...(shown.length > 0 ? { "aria-activedescendant": `exit-${at}` } : {})}
        autocomplete="off"
        value={words}
        onInput={(e) => {
          setWords(e.currentTarget.value);
          setActive(0);
        }}
        onKeyDown={keys}
      />
      <ul id="exit-list" role="listbox" aria-label={t.value.exit} tabIndex={0} onKeyDown={keys}>
        {shown.map((c, i) => (
          <li
            key={c.code}
            id={`exit-${i}`}
            role="option"
            data-country={c.code}
            class={`${i === at ? "active" : ""} ${c.usable ? "" : "unusable"}`}
            aria-selected={c.code === "" ? p.chosen.length === 0 : p.chosen.includes(c.code)}
            onClick={() => p.onChoose(c.code)}
          >
            <span class="code" aria-hidden="true">
              {c.code || "∗"}
            </span>
            <span class="option-name">{c.name}</span>
            <span class="hint">{c.detail}</span>
          </li>
        ))}
      </ul>
      <p class="hint" role="status">
        {exits.value !== null && exits.value.length === 0 ? t.value.noExits : shown.length === 0 ? t.value.noMatch : ""}
      </p>
    </>
  );
}

export function ExitPicker() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [open, setOpen] = useState(false);
  const chosen = state.value?.settings?.route?.exitCountries ?? [];
  const names = chosen.map(country);
  useEffect(() => {
    if (!open) return;
    dialog.current?.showModal();
    dialog.current?.querySelector("input")?.focus();
    const ask = () => void order({ case: "listExits", value: {} });
    ask();
    const timer = setInterval(ask, REFRESH_MS);
    return () => clearInterval(timer);
  }, [open]);
  const choose = (code: string) => {
    void commandRoute({ exitCountries: code === "" ? [] : [code] });
    dialog.current?.close();
  };
  return (
    <div class="exit-choice">
      <span id="exit-label" class="field-label">
        {t.value.exit}
      </span>
      <button
        type="button"
        class="select"
        id="exit-button"
        aria-labelledby="exit-label exit-value"
        aria-haspopup="dialog"
        disabled={link.value !== "open"}
        onClick={() => setOpen(true)}
      >
        <span id="exit-value">
          {names.length === 0
            ? t.value.anywhere
            : names.length === 1
              ? names[0]
              : fill(t.value.several, { countries: chosen.join(", ") })}
        </span>
        <span class="chevron" aria-hidden="true" />
      </button>
      {open && (
        <dialog
          ref={dialog}
          class="picker"
          aria-label={t.value.exit}
          onClose={() => setOpen(false)}
          onClick={(e) => e.target === dialog.current && dialog.current?.close()}
        >
          <div class="picker-body">
            <div class="picker-head">
              <h2>{t.value.exit}</h2>
              <button type="button" class="quiet" onClick={() => dialog.current?.close()}>
                {t.value.close}
              </button>
            </div>
            <List chosen={chosen} onChoose={choose} />
          </div>
        </dialog>
      )}
    </div>
  );
}
