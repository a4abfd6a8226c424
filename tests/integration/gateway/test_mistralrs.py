"""OpenAI's SDK, gateway and neuron, before a fake mistral.rs that nobody has started yet."""

import openai
import pytest
from tests.integration.gateway.real_fleet import Neuron, gateway, wait_until
from tests.integration.neuron.mistralrs_host import CODER, SMALL, UNIT, a_host

from cortex.contract.profile import Profile

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with a_host(tmp_path_factory.mktemp("host")) as it:
        it.install()
        yield it


@pytest.fixture(scope="module")
def node(host):
    with host.neuron() as running:
        yield Neuron(running.url)


@pytest.fixture(scope="module")
def running(node):
    profiles = (
        Profile(id=CODER, harness="mistralrs", quant="Q4_K_M", vram_mb=64, aliases=("coder",)),
        Profile(id=SMALL, harness="mistralrs", quant="Q8_0", vram_mb=32),
    )
    with gateway(node.url, profiles) as it:
        yield it


@pytest.fixture
def client(running, in_flight_zero):
    in_flight_zero.append(running.in_flight)
    with openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


def test_the_first_request_starts_the_server_and_is_answered(client, host, node):
    assert host.systemd.pid(UNIT) == 0
    answer = client.chat.completions.create(model="coder", messages=HELLO)
    assert (answer.model, answer.choices[0].finish_reason) == ("coder", "stop")
    assert host.systemd.pid(UNIT) != 0
    wait_until(lambda: node.report(SMALL)["status"] == "loaded")


def test_a_stream_comes_whole_and_names_the_model_as_it_was_asked_for(client):
    stream = client.chat.completions.create(
        model="coder", messages=HELLO, stream=True, max_tokens=5, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "word " * 5
    assert {chunk.model for chunk in chunks} == {"coder"}
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [5]


def test_a_model_that_was_unloaded_is_loaded_by_its_next_request(client, host, node):
    wait_until(lambda: node.report(SMALL)["status"] == "loaded")
    before = node.report(SMALL)["generation"]
    node.unload(SMALL)
    assert host.states() == {CODER: "loaded", SMALL: "unloaded"}
    # There is no fence: until the gateway knows, a request goes to the server, which loads the model by itself.
    wait_until(lambda: client.models.retrieve(SMALL).model_dump()["status"] == "unloaded")
    assert client.chat.completions.create(model=SMALL, messages=HELLO).choices
    after = node.report(SMALL)
    assert (after["status"], after["declared_mb"]) == ("loaded", 32)
    assert after["generation"] > before


def test_the_pseudo_model_is_on_no_list(client):
    assert {model.id for model in client.models.list()} == {CODER, SMALL}
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="default", messages=HELLO)
