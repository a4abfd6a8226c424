// The playground: keeps a conversation, sends it as it grows, and shows what comes as it comes. Everything that a model
// or a person says is put into the page as text.
"use strict";

(() => {
  const play = document.getElementById("play");
  if (!play) return;
  const byId = (id) => document.getElementById(id);
  const settings = byId("settings"), transcript = byId("transcript"), text = byId("play-text"), note = byId("play-note");
  const send = byId("play-send"), stop = byId("play-stop"), said = byId("said"), pictures = byId("play-images");
  const MAX_BYTES = 40 << 20;
  const turns = [];
  let images = [], running = null;

  function wish() {
    const given = new FormData(settings);
    const number = (name) => (given.get(name) === "" || given.get(name) === null ? null : Number(given.get(name)));
    return {
      model: given.get("model"), system: given.get("system").trim(), maxTokens: number("max_tokens"),
      temperature: number("temperature"),
    };
  }
  const dialect = () => playgroundDialects[new FormData(settings).get("dialect")];

  // Turns

  function addTurn(role, content = "", shown = []) {
    byId("play-empty")?.remove();
    const one = byId("turn").content.cloneNode(true).firstElementChild;
    one.dataset.role = role;
    one.querySelector("h3").textContent = role === "user" ? "You" : wish().model;
    for (const image of shown) one.querySelector(".images").append(picture(image));
    const [thinking, answer] = one.querySelectorAll(".said");
    answer.textContent = content;
    transcript.append(one);
    toEnd(true);
    return { one, answer, thinking, box: one.querySelector(".thinking"), figures: one.querySelector(".figures") };
  }

  const isAtEnd = () => transcript.scrollHeight - transcript.scrollTop - transcript.clientHeight < 60;
  function toEnd(isWanted) {
    if (isWanted) transcript.scrollTop = transcript.scrollHeight;
  }

  // Pictures

  function picture(image) {
    const shown = document.createElement("img");
    shown.src = `data:${image.type};base64,${image.data}`;
    shown.alt = image.name;
    shown.title = image.name;
    return shown;
  }

  function showImages() {
    pictures.replaceChildren(...images.map((image) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-label", `Remove ${image.name}`);
      button.append(picture(image));
      button.addEventListener("click", () => {
        images = images.filter((one) => one !== image);
        showImages();
        text.focus();
      });
      return button;
    }));
    showCurl();
  }

  async function take(files) {
    for (const file of files) {
      if (!file.type.startsWith("image/")) continue;
      const held = images.reduce((sum, image) => sum + image.data.length, 0);
      if (held + file.size * 4 / 3 > MAX_BYTES) {
        note.textContent = `${file.name} is too large: 40 MB at most, all pictures together.`;
        continue;
      }
      const url = await new Promise((resolve, reject) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.onerror = () => reject(reader.error);
        reader.readAsDataURL(file);
      });
      images.push({ type: file.type, data: url.slice(url.indexOf(",") + 1), name: file.name || "a picture" });
    }
    showImages();
  }
  byId("play-file").addEventListener("change", async (event) => {
    await take(event.target.files);
    event.target.value = "";
  });
  text.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) take(files);
  });
  const composer = byId("composer");
  composer.addEventListener("dragover", (event) => event.preventDefault());
  composer.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });

  // The request

  function showCurl() {
    if (!byId("play-raw").open) return;
    const asked = text.value.trim() || images.length ? [{ role: "user", text: text.value.trim(), images }] : [];
    const body = dialect().request(wish(), [...turns, ...asked]);
    byId("play-curl").textContent = playgroundDialects.asCurl(location.origin, dialect(), body);
  }
  byId("play-raw").addEventListener("toggle", showCurl);
  settings.addEventListener("input", showCurl);
  text.addEventListener("input", showCurl);

  function figures(seen, isOver) {
    const now = performance.now(), words = [];
    const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);
    if (seen.first !== null) words.push(`first token after ${seconds(seen.first - seen.begin)}`);
    const tokens = seen.usage.completion ?? (seen.pieces || null);
    const spent = (seen.last ?? now) - (seen.first ?? now);
    if (tokens > 1 && spent > 0) words.push(`${((tokens - 1) / spent * 1000).toFixed(1)} tokens/s`);
    if (seen.usage.prompt !== undefined) words.push(`${seen.usage.prompt} tokens in`);
    if (seen.usage.completion !== undefined) words.push(`${seen.usage.completion} out`);
    if (isOver) words.push(`${seconds(now - seen.begin)} in all`);
    if (seen.why && !["stop", "end_turn"].includes(seen.why)) words.push(`ended by ${seen.why}`);
    return words.join(" · ");
  }

  async function ask(turn) {
    const spoken = dialect(), view = addTurn("assistant");
    const seen = { begin: performance.now(), first: null, last: null, pieces: 0, usage: {}, why: "", isWhole: false };
    let content = "", failure = null;
    view.one.setAttribute("aria-busy", "true");
    view.figures.textContent = "waiting…";
    const add = (event) => {
      if (event.error !== undefined) failure = { message: event.error, code: event.code ?? "" };
      if (event.text || event.thinking) {
        seen.first ??= performance.now();
        seen.last = performance.now();
        seen.pieces += 1;
      }
      const stays = isAtEnd();
      if (event.thinking) {
        view.box.hidden = false;
        view.thinking.textContent += event.thinking;
      }
      if (event.text) view.answer.textContent = content += event.text;
      for (const [name, value] of Object.entries(event.usage ?? {})) if (value !== undefined && value !== null) seen.usage[name] = value;
      if (event.why) seen.why = event.why;
      if (event.end) seen.isWhole = true;
      view.figures.textContent = figures(seen, false);
      toEnd(stays);
    };
    try {
      const answer = await fetch(`/dashboard/playground${spoken.path}`, {
        method: "POST", signal: running.signal,
        headers: { "content-type": "application/json", "x-cortex-token": document.body.dataset.token, ...spoken.headers },
        body: JSON.stringify(spoken.request(wish(), [...turns, turn])),
      });
      const kind = answer.headers.get("content-type") ?? "";
      if (!answer.ok || !kind.startsWith("text/event-stream")) {
        failure = { ...playgroundDialects.refusal(answer.status, await answer.text()), status: answer.status };
      } else {
        const comment = (words) => { if (words && seen.first === null) view.figures.textContent = words; };
        await playgroundDialects.readEvents(answer.body, ({ event, data }) => add(spoken.read(event, data)), comment);
        if (!seen.isWhole && !failure) failure = { message: "The answer broke off.", code: "" };
      }
    } catch (error) {
      if (error.name !== "AbortError") failure = { message: `The gateway cannot be reached: ${error.message}.`, code: "" };
    }
    view.one.removeAttribute("aria-busy");
    return { view, seen, content, failure };
  }

  function conclude(turn, { view, seen, content, failure }) {
    const isStopped = running.signal.aborted;
    view.figures.textContent = `${figures(seen, true)}${isStopped ? " · stopped" : ""}`;
    if (failure && !isStopped) {
      const told = document.createElement("p");
      told.className = "trouble";
      told.setAttribute("role", "alert");
      told.textContent = `${failure.status ? `${failure.status}: ` : ""}${failure.message} `;
      const code = document.createElement("span");
      code.className = "code";
      code.textContent = failure.code;
      told.append(code);
      view.answer.after(told);
      text.value ||= turn.text;  // to be put right and sent again
      if (!images.length) images = turn.images;
      showImages();
      return;
    }
    if (content || !isStopped) turns.push(turn, { role: "assistant", text: content, images: [] });
    said.textContent = isStopped ? "Stopped" : content ? "The answer is here" : "The answer is empty";
  }

  async function submit() {
    const asked = text.value.trim();
    if (running || (!asked && !images.length)) return;
    const turn = { role: "user", text: asked, images };
    addTurn("user", asked, images);
    text.value = "", images = [], note.textContent = "";
    showImages();
    running = new AbortController();
    send.hidden = true, stop.hidden = false;
    const end = await ask(turn);
    conclude(turn, end);
    running = null;
    send.hidden = false, stop.hidden = true;
    toEnd(true);
    showCurl();
    text.focus();
  }

  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  settings.addEventListener("submit", (event) => event.preventDefault());
  stop.addEventListener("click", () => running?.abort());
  byId("play-new").addEventListener("click", () => {
    running?.abort();
    turns.length = 0;
    const empty = document.createElement("p");
    empty.className = "empty";
    empty.id = "play-empty";
    empty.textContent = "Nothing was said yet.";
    transcript.replaceChildren(empty);
    showCurl();
    text.focus();
  });
})();
