// SPDX-License-Identifier: GPL-2.0-or-later
// Shown instead of everything when the gateway does not know this tab.
import { useState } from "preact/hooks";
import { t } from "../i18n";
import { link, setToken } from "../link";

export function Door() {
  const [bad, setBad] = useState(false);
  const enter = (e: SubmitEvent) => {
    e.preventDefault();
    const input = (e.currentTarget as HTMLFormElement).elements.namedItem("key") as HTMLInputElement;
    setBad(!setToken(input.value));
  };
  return (
    <main class="door">
      <section class="card">
        <h2>{t.value.doorTitle}</h2>
        {(link.value === "denied" || bad) && (
          <p class="warn" role="alert">
            {t.value.doorDenied}
          </p>
        )}
        <p>{t.value.doorText}</p>
        <pre>mvpn url</pre>
        <form onSubmit={enter}>
          <label>
            {t.value.doorInput}
            <input name="key" type="password" autocomplete="off" spellcheck={false} />
          </label>
          <button type="submit">{t.value.doorOpen}</button>
        </form>
      </section>
    </main>
  );
}
