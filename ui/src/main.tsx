// SPDX-License-Identifier: GPL-2.0-or-later
import { effect } from "@preact/signals";
import { render } from "preact";
import "./app.css";
import { startLanguage, t } from "./i18n";
import { open, retryNow, tokenFromAddress } from "./link";
import { App } from "./parts/app";
import { now, phase } from "./store";
import "./theme";

tokenFromAddress();
window.addEventListener("hashchange", () => {
  tokenFromAddress();
  open();
});
document.addEventListener("visibilitychange", retryNow);
window.addEventListener("online", retryNow);
setInterval(() => {
  now.value = Date.now();
}, 1000);
effect(() => {
  document.title = `${t.value.phase[phase.value]} · mvpn`;
});
await startLanguage();
render(<App />, document.getElementById("app")!);
open();
