// How the playground speaks to the gateway in each of two dialects: what a conversation is as a request, and what the
// events of its answer mean. Knows no page. A turn is {role, text, images: [{type, data}]}, data being base64.
"use strict";

const playgroundDialects = (() => {
  const asUrl = (image) => `data:${image.type};base64,${image.data}`;

  function settled(wish) {
    const body = { model: wish.model, stream: true };
    if (wish.maxTokens !== null) body.max_tokens = wish.maxTokens;
    if (wish.temperature !== null) body.temperature = wish.temperature;
    return body;
  }

  const openai = {
    path: "/v1/chat/completions",
    headers: {},
    request(wish, turns) {
      const messages = wish.system ? [{ role: "system", content: wish.system }] : [];
      for (const turn of turns) {
        const text = { type: "text", text: turn.text };
        const images = turn.images.map((image) => ({ type: "image_url", image_url: { url: asUrl(image) } }));
        messages.push({ role: turn.role, content: images.length ? [...images, ...(turn.text ? [text] : [])] : turn.text });
      }
      return { ...settled(wish), messages, stream_options: { include_usage: true } };
    },
    // What one event adds: {text, thinking, usage, error, end}; nothing of what it does not say.
    read(name, data) {
      if (data === "[DONE]") return { end: true };
      const said = JSON.parse(data);
      if (said.error) return { error: said.error.message ?? String(said.error), code: said.error.code ?? said.error.type };
      const found = {}, choice = said.choices?.[0];
      if (choice?.delta?.content) found.text = choice.delta.content;
      const thinking = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning;
      if (thinking) found.thinking = thinking;
      if (choice?.finish_reason) found.why = choice.finish_reason;
      if (said.usage) found.usage = { prompt: said.usage.prompt_tokens, completion: said.usage.completion_tokens };
      return found;
    },
  };

  const anthropic = {
    path: "/v1/messages",
    headers: { "anthropic-version": "2023-06-01" },
    request(wish, turns) {
      const messages = turns.map((turn) => {
        const images = turn.images.map((image) => (
          { type: "image", source: { type: "base64", media_type: image.type, data: image.data } }));
        return { role: turn.role, content: images.length ? [...images, ...(turn.text ? [{ type: "text", text: turn.text }] : [])] : turn.text };
      });
      const body = { ...settled({ ...wish, maxTokens: wish.maxTokens ?? 1024 }), messages };
      if (wish.system) body.system = wish.system;
      return body;
    },
    read(name, data) {
      const said = JSON.parse(data);
      if (said.type === "error") return { error: said.error?.message ?? "unknown", code: said.error?.type };
      if (said.type === "content_block_delta") {
        if (said.delta.type === "text_delta") return { text: said.delta.text };
        if (said.delta.type === "thinking_delta") return { thinking: said.delta.thinking };
      }
      if (said.type === "message_start") return { usage: { prompt: said.message?.usage?.input_tokens } };
      if (said.type === "message_delta") {
        const usage = { completion: said.usage?.output_tokens };
        if (said.usage?.input_tokens) usage.prompt = said.usage.input_tokens;
        return { usage, why: said.delta?.stop_reason ?? undefined };
      }
      return said.type === "message_stop" ? { end: true } : {};
    },
  };

  // The sentence of an answer that is no stream.
  function refusal(status, text) {
    try {
      const error = JSON.parse(text).error;
      return { message: error.message ?? String(error), code: error.code ?? error.type ?? "" };
    } catch {
      return { message: text.trim().slice(0, 300) || `the gateway answered ${status}`, code: "" };
    }
  }

  // Calls take({event, data}) for every event and note(comment) for every comment of a stream, however it is cut.
  async function readEvents(body, take, note) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", name = "", data = [];
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const raw of lines) {
        const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
        if (line === "") {
          if (data.length) take({ event: name, data: data.join("\n") });
          name = "", data = [];
        } else if (line.startsWith(":")) note(line.slice(1).trim());
        else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        else if (line.startsWith("event:")) name = line.slice(6).trim();
      }
    }
  }

  // One line for a shell, with pictures cut short: they would be megabytes.
  function asCurl(base, dialect, body) {
    const text = JSON.stringify(body, (_, value) => (
      typeof value === "string" && value.length > 400 && /^(data:[^,]{1,60},)?[A-Za-z0-9+/=]{200}/.test(value)
        ? `${value.slice(0, 60)}…` : value), 2);
    const headers = { "content-type": "application/json", ...dialect.headers };
    const shown = Object.entries(headers).map(([name, value]) => `  -H '${name}: ${value}' \\\n`).join("");
    return `curl -N ${base}${dialect.path} \\\n${shown}  -H "authorization: Bearer $CORTEX_API_KEY" \\\n  -d '${text.replaceAll("'", "'\\''")}'`;
  }

  return { openai, anthropic, refusal, readEvents, asCurl };
})();
