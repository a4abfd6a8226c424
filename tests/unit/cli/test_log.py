"""Logs as lines, once and as they come."""

import json

import msgspec
import pytest
from tests.unit.cli.desk import desk

from cortex.cli.client import gateway
from cortex.cli.log import follow_log, show_log, shown
from cortex.contract.error import ConfigError, UpstreamBroken, UpstreamError, UpstreamUnreachable

MODEL = {"id": "org/m", "nodes": ["beast"]}
PATH = "GET_admin_v1_nodes_beast_models_org%2Fm_logs?lines=5"


def event(kind: str, **body: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(body))


def test_the_last_lines_come_from_the_only_node_that_has_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"model": "org/m", "node": "beast", "lines": ["one", "two"]}
    with desk(**{"GET_admin_v1_models_org%2Fm": MODEL, PATH: answer}) as here:
        show_log(gateway(here.url, {}), "org/m", None, 5, as_json=False)
        show_log(gateway(here.url, {}), "org/m", "beast", 5, as_json=True)
    out = capsys.readouterr().out
    assert out.startswith("one\ntwo\n")
    assert json.loads(out.removeprefix("one\ntwo\n")) == answer


def test_of_several_nodes_one_has_to_be_named() -> None:
    with (
        desk(GET_admin_v1_models_m={"id": "m", "nodes": ["a", "b"]}) as here,
        pytest.raises(ConfigError, match="--node"),
    ):
        show_log(gateway(here.url, {}), "m", None, 5, as_json=False)


def test_what_an_engine_writes_cannot_write_on_the_terminal() -> None:
    assert shown("a\tb\x1b[2J\rforged") == "a\tb?[2J?forged"


def test_following_prints_what_comes_until_the_engine_ends(capsys: pytest.CaptureFixture[str]) -> None:
    said = b"".join(
        [
            event("lines", lines=["one"]),
            b": still here\n\n",
            event("lines", lines=["two", "three"]),
            event("end", code="", reason="x"),
        ]
    )
    with desk(**{f"{PATH}&follow=true": [(200, said)]}) as here:
        follow_log(gateway(here.url, {}), "org/m", "beast", 5, as_json=False)
        follow_log(gateway(here.url, {}), "org/m", "beast", 5, as_json=True)
    first, second, third, *rest = capsys.readouterr().out.splitlines()
    assert (first, second, third) == ("one", "two", "three")
    assert [json.loads(line) for line in rest] == [{"line": "one"}, {"line": "two"}, {"line": "three"}]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((200, event("end", code="upstream_unreachable", reason="beast is silent")), UpstreamBroken, "beast is silent"),
        ((200, event("lines", lines=["one"])), UpstreamBroken, "broke the log off"),
        ((404, {"error": {"message": "No node 'beast'"}}), UpstreamError, "404: No node 'beast'"),
    ],
    ids=["said", "cut", "refused"],
)
def test_an_end_that_is_not_the_engines_is_an_error(
    answer: tuple[int, object], error: type[Exception], words: str
) -> None:
    with desk(**{f"{PATH}&follow=true": [answer]}) as here, pytest.raises(error, match=words):
        follow_log(gateway(here.url, {}), "org/m", "beast", 5, as_json=False)


def test_a_gateway_that_is_not_there_is_said() -> None:
    with desk() as here:
        url = here.url
    with pytest.raises(UpstreamUnreachable, match="is it running there"):
        follow_log(gateway(url, {}), "org/m", "beast", 5, as_json=False)
