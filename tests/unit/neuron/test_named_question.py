"""A server serves once it is well and has our model on its list; a stranger on its port does not."""

import asyncio

import pytest
from tests.unit.not_json import ENDLESS, NO_TEXT

from cortex.kit.http_client import HttpReply
from cortex.neuron.harness.interface import Activity
from cortex.neuron.metric_text import activity_reader
from cortex.neuron.named_question import NamedQuestions, listed_models
from cortex.neuron.state_dir import Handle

HANDLE = Handle(engine_model="lab/m")
OURS = b'{"object":"list","data":[{"id":"other"},{"id":"lab/m","object":"model"}]}'
ANOTHER = b'{"data":[{"id":"other"}]}'


class Server:
    """Answers from a table; what is not there is not answered at all."""

    def __init__(self, **answers: tuple[int, bytes]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def ask(self, path: str) -> HttpReply | None:
        self.asked.append(path)
        status, body = self.answers.get(path.rpartition("/")[2], (0, b""))
        return HttpReply(status, {}, body) if status else None


def is_serving(server: Server, *, knows_name: bool = True) -> bool:
    return asyncio.run(NamedQuestions("/ready", knows_name=knows_name).is_serving(server.ask, HANDLE))


def test_it_serves_when_it_is_well_and_lists_the_model() -> None:
    server = Server(ready=(200, b""), models=(200, OURS))
    assert is_serving(server)
    assert server.asked == ["/ready", "/v1/models"]


@pytest.mark.parametrize(
    ("status", "body", "context"),
    [
        (200, b'{"data":[{"id":"other","max_model_len":1},{"id":"lab/m","max_model_len":8192}]}', 8192),
        (200, b'{"data":[{"id":"other","max_model_len":8192}]}', 8192),
        (200, b'{"data":[{"id":"a","max_model_len":1},{"id":"b","max_model_len":2}]}', None),
        (200, b'{"data":[{"id":"lab/m","max_model_len":-1}]}', None),
        (200, b'{"data":[{"id":"lab/m","max_model_len":true}]}', None),
        (200, OURS, None),
        (200, b"{", None),
        (404, b"", None),
        (0, b"", None),
    ],
)
def test_how_long_a_request_may_be_stands_beside_its_model(status: int, body: bytes, context: int | None) -> None:
    server = Server(models=(status, body))
    assert asyncio.run(NamedQuestions("/ready").context(server.ask, HANDLE)) == context


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_a_list_serves_when_it_is_well(status: int) -> None:
    assert is_serving(Server(ready=(200, b""), models=(status, b"")))


@pytest.mark.parametrize(
    ("server", "asked"),
    [
        (Server(), 1),
        (Server(ready=(503, b"")), 1),
        (Server(ready=(200, b"")), 2),
        (Server(ready=(200, b""), models=(401, b"")), 2),
        (Server(ready=(200, b""), models=(503, b"")), 2),
        (Server(ready=(200, b""), models=(200, ANOTHER)), 2),
        (Server(ready=(200, b""), models=(200, b"<html>")), 2),
    ],
    ids=["silent", "loading", "half silent", "asks for another key", "half ready", "another model", "a web page"],
)
def test_it_does_not_serve_otherwise(server: Server, asked: int) -> None:
    assert not is_serving(server)
    assert len(server.asked) == asked


@pytest.mark.parametrize("body", [ANOTHER, b"text"])
def test_one_that_was_told_no_name_need_not_list_it(body: bytes) -> None:
    assert is_serving(Server(ready=(200, b""), models=(200, body)), knows_name=False)
    assert not is_serving(Server(ready=(200, b""), models=(401, b"")), knows_name=False)


def test_its_activity_is_what_its_metrics_say_where_they_are_known() -> None:
    server = Server(metrics=(200, b"busy 2\ndone 5\n"))
    questions = NamedQuestions("/ready", "/metrics", activity_reader(("busy",), ("done",)))
    assert asyncio.run(questions.activity(server.ask)) == Activity(in_flight=2, work=5)
    assert asyncio.run(NamedQuestions("/ready").activity(server.ask)) is None
    assert server.asked == ["/metrics"]


@pytest.mark.parametrize("body", [b"", b"{}", NO_TEXT, ENDLESS])
def test_what_is_no_list_of_models_is_none(body: bytes) -> None:
    assert listed_models(body) is None
