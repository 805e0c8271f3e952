// SPDX-License-Identifier: GPL-2.0-or-later
import { type Language, language, languages, setLanguage, t } from "../i18n";
import { setTheme, theme, type Theme } from "../theme";

export function Footer(p: { version: string }) {
  return (
    <footer>
      <label>
        {t.value.theme}{" "}
        <select value={theme.value} onChange={(e) => setTheme(e.currentTarget.value as Theme)}>
          {Object.entries(t.value.themes).map(([k, words]) => (
            <option key={k} value={k}>
              {words}
            </option>
          ))}
        </select>
      </label>
      <label>
        {t.value.language}{" "}
        <select value={language.value} onChange={(e) => void setLanguage(e.currentTarget.value as Language, true)}>
          {Object.entries(languages).map(([k, name]) => (
            <option key={k} value={k} lang={k}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <span>{p.version}</span>
    </footer>
  );
}
