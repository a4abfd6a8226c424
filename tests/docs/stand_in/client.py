"""Programs of others: each asks the gateway one thing, as its variables and its file in the page have set it up."""

import json
import os
import tomllib
import urllib.request
from pathlib import Path

import yaml

LIMIT_S = 90.0
HELLO = [{"role": "user", "content": "Hello!"}]


def ask(url: str, key: str, body: object = None) -> None:
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=LIMIT_S) as answer:
        said = json.load(answer)
    print(url, "answers", list(said))


def chat(base: str, key: str, model: str) -> None:
    ask(f"{base}/chat/completions", key, {"model": model, "messages": HELLO, "max_tokens": 4})


def claude(words: list[str]) -> None:
    assert not words
    body = {"model": os.environ["ANTHROPIC_MODEL"], "messages": HELLO, "max_tokens": 4}
    ask(f"{os.environ['ANTHROPIC_BASE_URL']}/v1/messages", os.environ["ANTHROPIC_AUTH_TOKEN"], body)


def aider(words: list[str]) -> None:
    option, model = words
    assert option == "--model"
    maker, _, name = model.partition("/")
    assert maker == "openai"
    chat(os.environ["OPENAI_API_BASE"], os.environ["OPENAI_API_KEY"], name)


def open_webui(words: list[str]) -> None:
    assert words == ["serve"]
    ask(f"{os.environ['OPENAI_API_BASE_URL']}/models", os.environ["OPENAI_API_KEY"])


def codex(words: list[str]) -> None:
    assert not words or (len(words) == 2 and words[0] == "exec")
    said = tomllib.loads((Path.home() / ".codex" / "config.toml").read_text())
    provider = said["model_providers"][said["model_provider"]]
    assert provider["wire_api"] == "responses"
    body = {"model": said["model"], "input": "Hello!", "max_output_tokens": 4}
    ask(f"{provider['base_url']}/responses", os.environ[provider["env_key"]], body)


def opencode(words: list[str]) -> None:
    assert words[0] == "run"
    said = json.loads(Path("opencode.json").read_text())
    for name in (said["model"], said["small_model"]):
        maker, _, model = name.partition("/")
        provider = said["provider"][maker]
        assert model in provider["models"]
        chat(provider["options"]["baseURL"], provider["options"]["apiKey"], model)


def cn(words: list[str]) -> None:
    assert words[0] == "-p"
    (model,) = yaml.safe_load(Path(words[words.index("--config") + 1]).read_text())["models"]
    assert model["provider"] == "openai"
    chat(model["apiBase"], model["apiKey"], model["model"])
