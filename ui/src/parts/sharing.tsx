// SPDX-License-Identifier: GPL-2.0-or-later
import { bytes, count, fill, gwei, t } from "../i18n";
import { command, link } from "../link";
import { state } from "../store";
import { Toggle } from "./toggle";

function What() {
  const s = state.value!;
  const share = s.settings?.share;
  const trouble = [s.tunnel?.trouble, s.directory?.trouble].filter(Boolean).join("; ");
  if (!share?.on) return null;
  const facts = [
    fill(t.value.sharedSessions, { n: count(s.tunnel?.nSessions ?? 0) }),
    fill(t.value.sharedBytes, { bytes: bytes(s.tunnel?.sharedBytes ?? 0n) }),
    `${t.value.earned} ${gwei(s.wallet?.earned || "0")}`,
  ];
  return (
    <>
      <p class="facts">{facts.join(" · ")}</p>
      <p class="hint">{s.directory?.published ? t.value.published : t.value.notPublished}</p>
      {trouble && (
        <p class="warn" lang="en">
          {trouble}
        </p>
      )}
    </>
  );
}

export function Sharing() {
  const share = state.value?.settings?.share;
  if (!share) return null;
  const set = (on: boolean, exit: boolean) => void command({ case: "share", value: { on, exit } });
  const away = link.value !== "open";
  return (
    <section class="card" aria-labelledby="sharing-title">
      <h2 id="sharing-title">{t.value.sharing}</h2>
      <Toggle
        label={t.value.shareSwitch}
        hint={t.value.shareHint}
        on={share.on}
        disabled={away}
        onChange={(on) => set(on, share.exit)}
      />
      <Toggle
        label={t.value.exitSwitch}
        hint={t.value.exitHint}
        on={share.on && share.exit}
        disabled={away || !share.on}
        onChange={(exit) => set(share.on, exit)}
      />
      <What />
    </section>
  );
}
