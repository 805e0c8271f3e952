// SPDX-License-Identifier: GPL-2.0-or-later
import { fill, t } from "../i18n";
import { complaint, link } from "../link";
import { state, welcome } from "../store";
import { Cost } from "./cost";
import { Door } from "./door";
import { Footer } from "./footer";
import { Power } from "./power";
import { Route } from "./route";
import { Services } from "./services";
import { Settings } from "./settings";
import { Sharing } from "./sharing";
import { Traffic } from "./traffic";

function Banner() {
  const words = {
    lost: t.value.lost,
    stopped: t.value.stopped,
    full: t.value.full,
    outdated: t.value.outdated,
  } as Record<string, string>;
  const text = words[link.value];
  // The element is always there: a live region speaks only of what changes inside it.
  return (
    <div role="status" class="banner-place">
      {text && <p class="banner">{text}</p>}
      {state.value?.notice && link.value === "open" && <p class="banner">{t.value.noticeFile}</p>}
    </div>
  );
}

function Complaint() {
  const c = complaint.value;
  return (
    <div role="alert" class="complaint-place">
      {c && (
        <p class="complaint">
          <span>
            {t.value.refusal[c.refusal]} {c.why && <span lang="en">{c.why}</span>}
          </span>
          <button type="button" class="quiet" onClick={() => (complaint.value = null)}>
            {t.value.dismiss}
          </button>
        </p>
      )}
    </div>
  );
}

function Header() {
  return (
    <header>
      <h1>
        <img src="/icon.svg" alt="" width="26" height="26" /> mvpn
      </h1>
      {welcome.value?.name && <span class="node-name">{welcome.value.name}</span>}
    </header>
  );
}

export function App() {
  const shut = link.value === "no-token" || link.value === "denied";
  return (
    <>
      <Header />
      <Banner />
      {shut ? (
        <Door />
      ) : (
        <main class={link.value === "open" ? "" : "away"}>
          <div class="column">
            <Power />
            <Route />
            <Services />
          </div>
          <div class="column">
            <Traffic />
            <Cost />
            <Sharing />
            <Settings />
          </div>
        </main>
      )}
      <Complaint />
      <Footer version={fill("mvpn {v}", { v: welcome.value?.version ?? "" })} />
    </>
  );
}
