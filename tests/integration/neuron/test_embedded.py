"""The embedded engine is a real llama-server: routes, fences, exit codes, signals, tool calls, schemas, embeddings."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import openai
import pytest
from tests.integration.neuron.engine import engine, spawn

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import write_demo_model, write_model

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 24}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo_model(tmp_path_factory.mktemp("model") / "demo.gguf")


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """About 40 tokens per second, without an end: something to be cut."""
    return write_model(tmp_path_factory.mktemp("model") / "slow.gguf", TinyModel(layers=400, ctx=1024, eos_bias=None))


@pytest.fixture(scope="module")
def running(demo, tmp_path_factory):
    flags = ("--alias", "lab/demo", "--metrics", "--embeddings", "--parallel", "2", "--ctx-size", "8192")
    with engine(demo, tmp_path_factory.mktemp("log") / "engine.log", *flags, prefix="/i/nonce") as server:
        yield server


@pytest.fixture(scope="module")
def client(running):
    with openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


def test_it_serves_under_its_alias_with_as_many_slots_as_asked(running):
    (entry,) = running.json("/v1/models")["data"]
    assert entry["id"] == "lab/demo"
    assert entry["meta"]["n_ctx"] == 4096
    assert len(running.json("/slots")) == 2


@pytest.mark.parametrize("path", ["/v1/models", "/i/other/v1/models", "/health"])
def test_outside_its_prefix_it_answers_404(running, path):
    bare = running.url.removesuffix(running.prefix)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(bare + path)
    refusal.value.close()
    assert refusal.value.code == 404


def test_metrics_count_what_is_running(running):
    running.json("/v1/chat/completions", HELLO)
    text = running.get("/metrics")[1].decode()
    assert "llamacpp:requests_processing 0" in text
    assert "llamacpp:requests_deferred 0" in text


def test_a_chat_answer_is_printable_and_counted(client):
    answer = client.chat.completions.create(model="lab/demo", **HELLO)
    assert "".join(answer.choices[0].message.content.split()).isprintable()  # the vocabulary has line breaks
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_brings_the_same_text_as_one_answer(client):
    same = {"temperature": 0, "seed": 1, **HELLO}
    whole = client.chat.completions.create(model="lab/demo", **same)
    chunks = list(client.chat.completions.create(model="lab/demo", stream=True, **same))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 5


def test_the_same_seed_gives_the_same_bytes_from_another_process(running, demo, tmp_path):
    body = {"prompt": "once upon", "max_tokens": 40, "temperature": 1.0, "seed": 7}
    with engine(demo, tmp_path / "log") as other:
        texts = {server.json("/v1/completions", body)["choices"][0]["text"] for server in (running, other)}
    assert len(texts) == 1


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "get_weather"}}])
def test_offered_tools_are_called_with_valid_arguments(client, choice):
    answer = client.chat.completions.create(
        model="lab/demo",
        messages=[{"role": "user", "content": "What is the weather?"}],
        tools=[WEATHER],
        tool_choice=choice,
        max_tokens=300,
    )
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_after_a_tools_result_comes_text(client):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    answer = client.chat.completions.create(
        model="lab/demo",
        messages=[
            {"role": "user", "content": "What is the weather?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ],
        tools=[WEATHER],
        max_tokens=40,
        seed=1,
    )
    assert not answer.choices[0].message.tool_calls
    assert answer.choices[0].message.content


def test_a_json_schema_is_obeyed(client):
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "size": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["ok", "size"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="lab/demo",
        messages=[{"role": "user", "content": "Answer"}],
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}},
        max_tokens=200,
    )
    value = json.loads(answer.choices[0].message.content)
    assert isinstance(value["ok"], bool)
    assert 0 <= value["size"] <= 99


def test_embeddings_are_unit_vectors_that_depend_on_the_text(client):
    vectors = [item.embedding for item in client.embeddings.create(model="lab/demo", input=["a", "bcd"]).data]
    assert [round(sum(x * x for x in vector), 3) for vector in vectors] == [1.0, 1.0]
    assert vectors[0] != vectors[1]


def test_sigterm_ends_it_with_code_0(demo, tmp_path):
    with engine(demo, tmp_path / "log") as server:
        assert server.stop() == 0


def test_sigint_ends_it_too(demo, tmp_path):
    with engine(demo, tmp_path / "log") as server:
        assert server.stop(signal.SIGINT) == 0


def test_sigterm_cuts_a_running_stream(slow, tmp_path):
    with engine(slow, tmp_path / "log") as server:
        body = json.dumps({"prompt": "a", "max_tokens": 900, "stream": True}).encode()
        with urllib.request.urlopen(urllib.request.Request(server.url + "/v1/completions", body)) as stream:
            assert stream.readline().startswith(b"data:")
            code = server.stop()
            rest = stream.fp.read()
    assert code == 0
    assert b"[DONE]" not in rest


def test_sigterm_while_the_model_loads_ends_it(slow, tmp_path):
    log = tmp_path / "log"
    process = spawn(log, "--model", str(slow), "--port", "0")
    try:
        while "main: loading model" not in (text := log.read_text()) and "load_model" not in text:
            assert process.poll() is None, text
        process.send_signal(signal.SIGTERM)
        assert process.wait(2) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert "listening on" not in log.read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"this is no model at all", "invalid magic"),
        ("half", "corrupted or incomplete"),
    ],
    ids=["missing", "not-gguf", "truncated"],
)
def test_a_model_that_does_not_load_ends_it_with_code_1_and_its_reason(demo, tmp_path, content, words):
    path = tmp_path / "bad.gguf"
    if content:
        path.write_bytes(demo.read_bytes()[:200_000] if content == "half" else content)
    process = spawn(tmp_path / "log", "--model", str(path), "--port", "0")
    assert process.wait(20) == 1
    assert words in (tmp_path / "log").read_text()


def test_a_busy_port_ends_it_with_code_1_and_names_the_port(demo, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = spawn(tmp_path / "log", "--model", str(demo), "--port", str(port))
        assert process.wait(20) == 1
    assert f"couldn't bind HTTP server socket, hostname: 127.0.0.1, port: {port}" in (tmp_path / "log").read_text()


def test_while_it_loads_it_answers_503(demo, slow, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    seen = set()
    process = spawn(tmp_path / "log", "--model", str(slow), "--port", str(port))
    try:
        while 200 not in seen:
            assert process.poll() is None
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    seen.add(answer.status)
            except urllib.error.HTTPError as error:
                error.close()
                seen.add(error.code)
            except urllib.error.URLError:
                seen.add(0)
    finally:
        process.kill()
        process.wait()
    assert 503 in seen


def test_a_gone_client_frees_its_slot(slow, tmp_path):
    with engine(slow, tmp_path / "log", "--metrics", "--parallel", "1") as server:
        body = json.dumps({"prompt": "a", "max_tokens": 900, "stream": True}).encode()
        with urllib.request.urlopen(urllib.request.Request(server.url + "/v1/completions", body)) as stream:
            assert stream.readline().startswith(b"data:")
            assert b"requests_processing 1" in server.get("/metrics")[1]
        limit = time.monotonic() + 5
        while b"requests_processing 0" not in server.get("/metrics")[1]:
            assert time.monotonic() < limit


def test_two_engines_run_side_by_side(demo, tmp_path):
    with engine(demo, tmp_path / "1") as one, engine(demo, tmp_path / "2") as two:
        answers: list[dict] = []
        threads = [
            threading.Thread(target=lambda s=server: answers.append(s.json("/v1/chat/completions", HELLO)))
            for server in (one, two)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(answers) == 2


def test_the_child_imports_nothing_heavy_of_cortex():
    script = "import sys; from cortex.neuron.embedded import argument, server; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "msgspec", "numpy", "gguf", "aiohttp", "uvicorn", "xllamacpp"} & set(loaded)
