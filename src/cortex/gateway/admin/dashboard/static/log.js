// Follows the log of an engine: what comes is put below what is there, and the view stays at the end unless the reader
// has scrolled away or has paused. Lines are text, whatever is in them; only so many are kept.
"use strict";

(() => {
  const log = document.getElementById("log");
  if (!log) return;
  const state = document.getElementById("log-state");
  const note = document.getElementById("log-note");
  const pause = document.getElementById("log-pause");
  const find = document.getElementById("log-find");
  const KEPT = 5000;
  const held = [];
  let isPaused = false, isFirst = true, dropped = 0;

  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const isWanted = (text) => text.toLowerCase().includes(find.value.trim().toLowerCase());

  function show(lines) {
    const stays = isAtEnd();
    const some = document.createDocumentFragment();
    for (const line of lines) {
      const one = document.createElement("span");
      one.textContent = `${line}\n`;
      one.hidden = !isWanted(line);
      some.append(one);
    }
    log.append(some);
    while (log.childElementCount > KEPT) {
      log.firstElementChild.remove();
      dropped += 1;
    }
    if (dropped) note.textContent = `${dropped} older lines are not kept on this page.`;
    if (stays) log.scrollTop = log.scrollHeight;
  }

  function say() {
    if (isPaused) state.textContent = held.length ? `paused, ${held.length} lines wait` : "paused";
    else state.textContent = source ? "live" : state.textContent;
  }

  document.getElementById("log-tools").hidden = false;
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Go on" : "Pause";
    if (!isPaused) {
      show(held.splice(0));
      log.scrollTop = log.scrollHeight;
    }
    say();
  });
  document.getElementById("log-clear").addEventListener("click", () => log.replaceChildren());
  find.addEventListener("input", () => {
    for (const one of log.children) one.hidden = !isWanted(one.textContent);
    log.scrollTop = log.scrollHeight;
  });

  let source = new EventSource(log.dataset.source);
  source.addEventListener("lines", (event) => {
    const { lines } = JSON.parse(event.data);
    if (isFirst) log.replaceChildren();  // the stream begins with what the page has shown already
    isFirst = false;
    if (isPaused) {
      held.push(...lines);
      if (held.length > KEPT) dropped += held.splice(0, held.length - KEPT).length;
    } else show(lines);
    say();
  });
  source.addEventListener("end", (event) => {
    const { reason } = JSON.parse(event.data);
    source.close();
    source = null;
    state.textContent = `ended: ${reason}`;
  });
  source.addEventListener("open", () => { isFirst = true; say(); });
  source.addEventListener("error", () => {
    if (source && source.readyState === EventSource.CLOSED) {
      source = null;
      state.textContent = "not live: reload the page to try again";
    } else if (source) state.textContent = "connecting again…";
  });
  log.scrollTop = log.scrollHeight;
})();
