"""What a command hears from a daemon, and the sentence for each way of hearing nothing."""

import socket
from collections.abc import Callable

import pytest
from tests.unit.cli.desk import desk
from tests.unit.not_json import ENDLESS, NO_TEXT

from cortex.cli.client import Server, gateway, neuron
from cortex.contract.error import ConfigError, CortexError, UpstreamBroken, UpstreamError, UpstreamUnreachable


def server(url: str) -> Server:
    return Server(url, what="the gateway", option="--url")


def test_json_goes_both_ways_and_the_credential_with_it() -> None:
    with desk(POST_models_load=[(202, {"status": "loading"})]) as here:
        neuron(here.url + "/", {"CORTEX_API_KEY": "k"}).post("/models/load", {"model_id": "a/b"})
        assert here.seen == [("POST /models/load", {"model_id": "a/b"})]
        assert here.credentials == ["Bearer k"]


def test_without_a_key_no_credential_is_sent() -> None:
    with desk(GET_health={"status": "ok"}) as here:
        assert gateway(here.url, {}).get("/health") == {"status": "ok"}
        assert here.credentials == [None]


@pytest.mark.parametrize("make", [gateway, neuron])
def test_the_end_of_a_line_after_a_key_is_none_of_it(make: Callable[..., Server]) -> None:
    with desk(GET_health={"status": "ok"}) as here:
        make(here.url, {"CORTEX_API_KEY": "k\n"}).get("/health")
        assert here.credentials == ["Bearer k"]


@pytest.mark.parametrize("make", [gateway, neuron])
@pytest.mark.parametrize("secret", ["a\nb", "a b", "\u00e9"])
def test_what_no_header_can_carry_is_no_key(make: Callable[..., Server], secret: str) -> None:
    with pytest.raises(ConfigError, match="CORTEX_API_KEY: expected one key and nothing else"):
        make("http://127.0.0.1:1", {"CORTEX_API_KEY": secret})


def test_a_status_that_is_an_answer_is_passed_on() -> None:
    with desk(GET_health=[(503, {"status": "down"})]) as here:
        assert server(here.url).get("/health", expected=(200, 503)) == {"status": "down"}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, {"error": {"code": "x", "message": "no such model"}}, "answered 404: no such model"),
        (502, b"<html>bad</html>", "answered 502: <html>bad</html>"),
        (500, b"", "answered 500: (no words)"),
        (500, ["error"], 'answered 500: ["error"]'),
    ],
)
def test_an_error_answer_is_told_in_the_daemons_own_words(status: int, body: object, words: str) -> None:
    with desk(GET_health=[(status, body)]) as here, pytest.raises(UpstreamError) as caught:
        server(here.url).get("/health")
    assert caught.value.message == f"the gateway at {here.url} {words}"


def test_another_server_is_recognised_by_its_answer() -> None:
    with (
        desk(GET_health=[(200, b"<html>")]) as here,
        pytest.raises(UpstreamBroken, match="is this the gateway of cortex"),
    ):
        server(here.url).get("/health")


def test_nobody_there_names_the_place_and_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(UpstreamUnreachable) as caught:
        server(url).get("/health")
    expected = f"no answer from the gateway at {url} (Connection refused); is it running there? Name another with --url"
    assert caught.value.message == expected


def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(UpstreamUnreachable, match="timed out"):
            Server(url, what="the gateway", option="--url", timeout_s=0.05).get("/health")


def test_an_answer_without_what_it_must_hold_is_anothers() -> None:
    with desk(GET_health={"status": "ok"}, GET_models=["status"]) as here:
        assert server(here.url).get("/health", holds=("status",)) == {"status": "ok"}
        for path in ("/health", "/models"):
            with pytest.raises(UpstreamBroken) as caught:
                server(here.url).get(path, holds=("status", "nodes"))
            assert caught.value.message.startswith(f"{here.url}{path} has no status and nodes: is this the gateway")


@pytest.mark.parametrize("body", [NO_TEXT, ENDLESS], ids=["no text", "endless"])
def test_what_is_no_json_is_anothers(body: bytes) -> None:
    with desk(GET_health=[(200, body)], GET_models=[(500, body)]) as here:
        with pytest.raises(UpstreamBroken, match="is no JSON: is this the gateway of cortex"):
            server(here.url).get("/health")
        with pytest.raises(UpstreamError, match="answered 500"):
            server(here.url).get("/models")


def test_an_answer_without_an_end_is_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortex.cli.client.MAX_ANSWER_BYTES", 100)
    with desk(GET_health=[(200, b"[" + b"1," * 40 + b"1]"), (200, b"[" + b"1," * 100)]) as here:
        assert server(here.url).get("/health") == [1] * 41
        with pytest.raises(UpstreamBroken, match="/health does not come to an end: is this the gateway of cortex"):
            server(here.url).get("/health")


def test_a_base_url_as_sdks_take_it_is_taken_too() -> None:
    with desk(GET_health={"status": "ok"}) as here:
        assert gateway(here.url + "/v1/", {}).get("/health") == {"status": "ok"}


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "", "http://[::1", "http://x:99999"])
def test_what_is_no_url_is_refused_before_any_call(url: str) -> None:
    with pytest.raises(ConfigError, match="--url: expected an http"):
        server(url)


def test_every_failure_is_an_error_of_ours() -> None:
    with pytest.raises(CortexError):
        server("http://no such host").get("/health")
