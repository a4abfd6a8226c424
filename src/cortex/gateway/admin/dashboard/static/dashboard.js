// What pages cannot do by themselves: the dialog, the switch of the theme, times as the reader's clock has them, and
// whether what is shown is live. Everything else is HTML that the gateway sends.
"use strict";

const byId = (id) => document.getElementById(id);
const dialog = byId("dialog");
const link = byId("link");

// On a phone the navigation is wider than the screen

document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// Theme

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

byId("theme").addEventListener("click", () => {
  const next = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("cortex-theme", next); } catch { /* for this page only, then */ }
  document.dispatchEvent(new CustomEvent("cortex:theme", { detail: next }));
});

// Times: sent in UTC, shown in the reader's time zone

const today = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const other = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

function tellTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const text = (moment.toDateString() === new Date().toDateString() ? today : other).format(moment);
    if (time.textContent !== text) time.textContent = text;
    time.title = moment.toLocaleString();
  }
}
tellTimes(document);

// The dialog: a link with data-dialog fills it, and where it came from has the focus again afterwards

document.addEventListener("click", (event) => {
  const opener = event.target.closest("a[data-dialog]");
  if (!opener || opener.hasAttribute("hx-get") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  htmx.ajax("GET", opener.getAttribute("href"), { target: "#dialog-body", source: opener });
});

document.addEventListener("htmx:after:swap", (event) => {
  const target = event.detail?.ctx?.target ?? event.target;
  tellTimes(target instanceof Element ? target : document);
  if (target?.id !== "dialog-body") return;
  if (!dialog.open) dialog.showModal();
  const first = dialog.querySelector("[autofocus]") ?? dialog.querySelector("h2");
  first?.focus();
  const said = dialog.querySelector("[data-said]");
  if (said) byId("said").textContent = said.textContent;
});

dialog.addEventListener("click", (event) => {
  const close = event.target.closest("[data-close]");
  if (close || event.target === dialog) {
    event.preventDefault();
    dialog.close();
  }
});
dialog.addEventListener("close", () => { byId("dialog-body").replaceChildren(); });

// Forms outside of the dialog that ask again when a choice changes

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-follow]");
  if (form) form.requestSubmit();
});

// Whether it is live

function say(state, text) {
  if (link.dataset.state === state) return;
  link.dataset.state = state;
  link.textContent = text;
}
document.addEventListener("htmx:sse:after:connection", (event) => {
  const status = event.detail?.connection?.status;
  if (status === undefined || status < 300) say("live", "live");
});
// What follows of itself once it was connected is tried again by the extension; the first time by us.
for (const kind of ["htmx:response:error", "htmx:error"]) {
  document.addEventListener(kind, (event) => {
    const source = event.detail?.ctx?.sourceElement;
    if (source?.id !== "live") return;
    say("lost", "connecting again…");
    setTimeout(() => {
      if (!source.isConnected) return;
      htmx.ajax("GET", source.getAttribute("hx-sse:connect"), { source, swap: "innerMorph" });
    }, 3000);
  });
}
document.addEventListener("htmx:sse:error", (event) => {
  if (event.detail?.status === 401 || event.detail?.status === 303) location.reload();
  say("lost", document.hidden ? "paused" : "connecting again…");
});
