"""OpenAI's SDK, gateway, neuron and images server, before a fake ComfyUI."""

import base64
import urllib.error
import urllib.request
from urllib.request import urlopen

import openai
import pytest
from tests.integration.gateway.comfyui_thread import comfyui
from tests.integration.gateway.raw_client import LIMIT_S
from tests.integration.gateway.real_fleet import Neuron, gateway, wait_until
from tests.integration.neuron.neuron_process import neuron

from cortex.contract.profile import Profile
from cortex.testing.fake_comfyui import png

SDXL, OWN, TURBO = "lab/sdxl", "lab/own", "turbo.safetensors"
OWN_WORKFLOW = """{
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "turbo.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "photo of ${PROMPT}", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {
        "width": "${WIDTH=128}", "height": "${HEIGHT=64}", "batch_size": 1}},
    "5": {"class_type": "KSampler", "inputs": {
        "model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["4", 0], "seed": "${SEED}",
        "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}},
    "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
    "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "own/x"}}
}"""


@pytest.fixture(scope="module")
def comfy():
    with comfyui(checkpoints=("sdxl.safetensors", TURBO), device="cpu") as running:
        yield running


@pytest.fixture(scope="module")
def node(comfy, tmp_path_factory):
    entry = f'[[harnesses]]\nname = "comfyui"\nendpoint = "{comfy.fake.url}"\n'
    with neuron(tmp_path_factory.mktemp("neuron"), entry, head="keep_engines = false\n") as running:
        yield Neuron(running.url)


@pytest.fixture(scope="module")
def running(node):
    profiles = (
        Profile(
            id=SDXL,
            harness="comfyui",
            source="sdxl.safetensors",
            vram_mb=64,
            aliases=("dall-e-3",),
        ),
        Profile(id=OWN, harness="comfyui", images_workflow=OWN_WORKFLOW, vram_mb=64),
    )
    with gateway(node.url, profiles) as it:
        yield it


@pytest.fixture(autouse=True)
def everything_is_given_back(running, comfy, in_flight_zero):
    in_flight_zero.append(running.in_flight)
    yield
    wait_until(lambda: not comfy.fake.is_busy)


@pytest.fixture(scope="module")
def client(running):
    with openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


def test_images_come_as_base64(client):
    answer = client.images.generate(model=SDXL, prompt="a cat", n=2, size="256x256", response_format="b64_json")
    assert [base64.b64decode(image.b64_json) for image in answer.data] == [png(256, 256)] * 2


def test_images_come_as_urls_that_the_client_can_open(client):
    answer = client.images.generate(model=SDXL, prompt="a cat", size="512x512", response_format="url")
    with urlopen(answer.data[0].url) as content:
        assert content.read() == png(512, 512)


def test_what_is_asked_for_reaches_comfyui(client, comfy):
    extra = {"seed": 7, "negative_prompt": "dogs"}
    client.images.generate(model="dall-e-3", prompt='a "cat" ${SEED}', size="1024x1792", quality="hd", extra_body=extra)
    said = comfy.fake.prompts[-1]
    assert [said[node]["inputs"]["text"] for node in ("2", "3")] == ['a "cat" ${SEED}', "dogs"]
    assert said["4"]["inputs"] == {"width": 1024, "height": 1792, "batch_size": 1}
    assert said["5"]["inputs"]["seed"] == 7
    assert said["1"]["inputs"]["ckpt_name"] == "sdxl.safetensors"


def test_the_catalogue_brings_the_workflow(client, comfy):
    answer = client.images.generate(model=OWN, prompt="a cat", n=2)
    assert [base64.b64decode(image.b64_json) for image in answer.data] == [png(128, 64)] * 2
    assert [said["2"]["inputs"]["text"] for said in comfy.fake.prompts[-2:]] == ["photo of a cat"] * 2


@pytest.mark.parametrize(
    ("said", "param"),
    [({"size": "100x100"}, "size"), ({"n": 99}, "n"), ({"prompt": " "}, "prompt"), ({"stream": True}, "stream")],
    ids=["size", "n", "prompt", "stream"],
)
def test_a_wrong_request_is_refused_with_its_field(client, said, param):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.images.generate(**{"model": SDXL, "prompt": "a cat", **said})
    assert (refusal.value.param, refusal.value.code) == (param, "malformed_request")


def test_a_workflow_that_fails_is_told_in_comfyuis_words(client):
    with pytest.raises(openai.InternalServerError, match="KSampler: Allocation on device") as failure:
        client.images.generate(model=SDXL, prompt="a cat", size="2048x2048", n=10)
    assert failure.value.code == "out_of_memory"


def test_a_client_that_gives_up_stops_the_workflow(client, comfy):
    before = len(comfy.fake.interrupts)
    comfy.gate(is_open=False)
    with pytest.raises(openai.APITimeoutError):
        client.images.generate(model=SDXL, prompt="a slow cat", timeout=1)
    wait_until(lambda: len(comfy.fake.interrupts) == before + 1)
    wait_until(lambda: not comfy.fake.is_busy)
    comfy.gate(is_open=True)


def test_without_comfyui_there_is_an_error_and_with_it_images_again(client, comfy):
    client.images.generate(model=SDXL, prompt="a cat", size="64x64")
    comfy.run(comfy.fake.stop)
    with pytest.raises(openai.InternalServerError) as failure:
        client.images.generate(model=SDXL, prompt="a cat", size="64x64")
    assert failure.value.status_code in (502, 503)
    comfy.run(comfy.fake.start)
    assert client.images.generate(model=SDXL, prompt="a cat", size="64x64").data


def test_an_unload_frees_comfyuis_memory_and_the_next_image_loads_again(client, comfy, node):
    client.images.generate(model=SDXL, prompt="a cat", size="64x64")
    first = node.report(SDXL)
    assert comfy.fake.held_bytes > 0
    node.unload(SDXL)
    assert (comfy.fake.held_bytes, node.report(SDXL)["status"]) == (0, "unloaded")
    assert client.images.generate(model=SDXL, prompt="a cat", size="64x64").data
    assert node.report(SDXL)["generation"] > first["generation"]


def test_a_checkpoint_that_no_catalogue_names_can_be_asked_for(client, comfy, node):
    assert node.report(TURBO)["status"] == "unloaded"
    assert TURBO in [model.id for model in client.models.list()]
    # The estimate would be for a real one, and so much memory not every machine has.
    assert node.post("/models/load", {"model_id": TURBO, "harness": "comfyui", "vram_mb": 64})["status"] == "loading"
    wait_until(lambda: node.report(TURBO)["status"] == "loaded")
    wait_until(lambda: next(m for m in client.models.list() if m.id == TURBO).status == "loaded")
    client.images.generate(model=TURBO, prompt="a cat", size="64x64")
    assert comfy.fake.prompts[-1]["1"]["inputs"]["ckpt_name"] == TURBO


def test_another_generations_url_reaches_nobody(client, node):
    client.images.generate(model=SDXL, prompt="a cat", size="64x64")
    url = node.get(f"/models/{SDXL}/endpoint")["url"]
    with urllib.request.urlopen(url + "/v1/models", timeout=LIMIT_S) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="404") as refusal:
        urllib.request.urlopen(url[:-1] + "x/v1/models", timeout=LIMIT_S)
    refusal.value.close()
