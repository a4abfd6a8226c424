"""What the table of engines says of llama-server is so: requests of Anthropic's clients work with the real one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.integration.neuron.engine import Engine, engine
from tests.unit.dialects.claude import LLAMACPP, asked, assistant, result, text, tool, turn, use, user

from cortex.dialects.anthropic_request import read_anthropic, read_count

CHAT = "/v1/chat/completions"
COMMON = {"temperature": 0, "max_tokens": 60}
HARD = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "properties": {
        "pattern": {"type": "string", "pattern": "(?!x)a", "format": "unheard-of"},
        "anything": True,
        "elsewhere": {"$ref": "https://schemas.example/x"},
    },
    "propertyNames": {"pattern": "a"},
}


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(model, tmp_path_factory.mktemp("log") / "engine.log", "--ctx-size", "4096") as running:
        yield running


def body(**members: Any) -> Any:
    return msgspec.json.decode(read_anthropic(asked(**COMMON | members)).body(LLAMACPP, "demo", 4096))


def answered(server: Engine, **members: Any) -> dict[str, Any]:
    choice: dict[str, Any] = server.json(CHAT, body(**members))["choices"][0]
    return choice["message"]


def prompt(server: Engine, **members: Any) -> str:
    return str(server.json("/apply-template", body(**members))["prompt"])


@pytest.mark.parametrize(("choice", "called"), [({"type": "any"}, "a"), ({"type": "tool", "name": "b"}, "b")])
def test_a_tool_that_must_be_called_is_called(server: Engine, choice: dict[str, str], called: str) -> None:
    tools = [tool(name, properties={"city": {"type": "string"}}) for name in "ab"]
    message = answered(server, tools=tools, tool_choice=choice)
    assert message["tool_calls"][0]["function"]["name"] == called


def test_a_tool_that_must_not_be_called_is_not_even_written_down(server: Engine) -> None:
    message = answered(server, tools=[tool("a")], tool_choice={"type": "none"})
    assert "tool_calls" not in message
    assert "<tool_call>" not in message["content"]


def test_schemas_that_it_would_refuse_are_taken(server: Engine) -> None:
    message = answered(server, tools=[tool("a", **HARD)], tool_choice={"type": "any"})
    assert message["tool_calls"][0]["function"]["name"] == "a"
    form = {"type": "json_schema", "schema": {"type": "object", "properties": {"t": True}, "required": ["t"]}}
    assert "t" in msgspec.json.decode(answered(server, output_config={"format": form})["content"])


def test_a_beginning_of_the_answer_is_gone_on_with_and_known_to_be_said_again(server: Engine) -> None:
    members = {"messages": [user("a"), assistant("The answer is")], "thinking": {"type": "adaptive"}}
    request = read_anthropic(asked(**COMMON | members))
    written = msgspec.json.decode(request.body(LLAMACPP, "demo", 4096))
    whole = server.json(CHAT, written)["choices"][0]["message"]["content"]
    status, stream = server.get(CHAT, written | {"stream": True})
    chunks = [msgspec.json.decode(line[6:]) for line in stream.splitlines() if line.startswith(b"data: {")]
    streamed = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert status == 200
    assert streamed
    assert whole == request.echo + streamed


def test_the_prompt_has_results_in_their_order_and_before_the_users_words(server: Engine) -> None:
    said = prompt(
        server,
        tools=[tool("look")],
        system=[text("x-anthropic-billing-header: cc_version=1;"), text("Be brief.")],
        messages=[
            user("first"),
            turn("system", "second"),
            assistant(use("1"), use("2")),
            user(text("fifth"), result("2", "fourth", is_error=True), result("1", [text("third")])),
        ],
    )
    places = [said.index(word) for word in ("Be brief", "first", "second", "third", "Error: fourth", "fifth")]
    assert places == sorted(places)
    assert "billing" not in said


def test_the_prompt_of_a_later_turn_begins_with_that_of_the_earlier_one(server: Engine) -> None:
    talk = [user("a"), turn("system", "s"), assistant(use("1")), user(result("1", "r")), assistant("b"), user("c")]
    earlier, later = (prompt(server, messages=talk[:count], tools=[tool("look")]) for count in (4, 6))
    assert later.startswith(earlier.removesuffix("<|im_start|>assistant\n"))


def test_a_count_is_that_of_the_answers_prompt(server: Engine) -> None:
    members = {"system": "s", "tools": [tool("look")]}
    counted = read_count(asked(max_tokens=None, **members)).body(LLAMACPP, "demo", None)
    tokens = server.json(f"{CHAT}/input_tokens", msgspec.json.decode(counted))["input_tokens"]
    assert tokens == server.json(CHAT, body(**members) | {"max_tokens": 1})["usage"]["prompt_tokens"]
