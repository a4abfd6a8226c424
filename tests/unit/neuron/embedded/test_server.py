"""The embedded engine's process: every flag reaches the wheel, failures are code 1, and signals end it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import xllamacpp

from cortex.neuron.embedded.argument import parse
from cortex.neuron.embedded.flag import TOGGLES, VALUED
from cortex.neuron.embedded.server import serve, start

EXAMPLES = {
    "flash_attn_type": "on",
    "pooling_type": "mean",
    "split_mode": "row",
    "cache_type_k": "q8_0",
    "cache_type_v": "f16",
    "reasoning_format": "deepseek",
    "fit_params": "off",
    "n_gpu_layers": "all",
    "tensor_split": "3,1",
}
"""A word for each flag that takes no number; every other one is given 7."""


@pytest.fixture
def unstarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``start`` return the parameters that a server would be started with."""
    monkeypatch.setattr(xllamacpp, "Server", lambda params: params)


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put this process's own signal handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def value(params: object, target: str) -> object:
    for name in target.split("."):
        params = getattr(params, name)
    return params


@pytest.mark.parametrize("flag", VALUED, ids=lambda flag: flag.names[-1])
@pytest.mark.usefixtures("unstarted")
def test_every_flag_with_a_value_is_understood_by_the_wheel(flag) -> None:
    word = EXAMPLES.get(flag.target, "7")
    started = start(parse(["-m", "x.gguf", flag.names[-1], word], {}))
    wanted = flag.read(word)
    got = value(started, flag.target)
    if flag.target == "tensor_split":
        assert list(got)[:3] == [3.0, 1.0, 0.0]
    elif hasattr(wanted, "enum"):
        assert got == getattr(getattr(xllamacpp, wanted.enum), wanted.name)
    elif isinstance(wanted, list):
        assert set(got) == set(wanted)
    else:
        assert got == wanted


@pytest.mark.parametrize("toggle", [row for row in TOGGLES if row.target != "reranking"], ids=lambda row: row.on[-1])
@pytest.mark.usefixtures("unstarted")
def test_every_toggle_is_understood_by_the_wheel(toggle) -> None:
    assert value(start(parse(["-m", "x.gguf", toggle.on[-1]], {})), toggle.target) is True
    for word in toggle.off:
        assert value(start(parse(["-m", "x.gguf", word], {})), toggle.target) is False


@pytest.mark.usefixtures("unstarted")
def test_reranking_is_an_embedding_with_rank_pooling() -> None:
    started = start(parse(["-m", "x.gguf", "--reranking"], {}))
    assert (started.embedding, started.pooling_type) == (
        True,
        xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK,
    )


@pytest.mark.usefixtures("handlers")
def test_a_model_that_does_not_load_is_code_1_and_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert serve(parse(["-m", str(tmp_path / "none.gguf"), "--port", "0"], {})) == 1
    said = capfd.readouterr().err
    assert "failed to open GGUF file" in said
    assert "error: Failed to init server" in said


@pytest.mark.usefixtures("handlers")
def test_without_the_wheel_it_is_code_1_and_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert serve({"model.path": "x.gguf"}) == 1
    assert capsys.readouterr().err.startswith("error: import of xllamacpp halted")


CHILD = """
import os, signal, sys, threading
from cortex.neuron.embedded import server

NUMBER, WHERE = int(sys.argv[1]), sys.argv[2]

def send():
    os.kill(os.getpid(), NUMBER)

def is_ready():
    return all(
        callable(handler) and handler is not signal.default_int_handler
        for handler in map(signal.getsignal, (signal.SIGTERM, signal.SIGINT))
    )

class Running:
    def __del__(self):
        print("torn down", flush=True)

def once_ready():
    while not is_ready():
        pass
    send()

def start(setting):
    if WHERE == "while it loads":
        send()
    return Running()

server.start = start
threading.Thread(target=once_ready, daemon=True).start()
sys.exit(server.serve({}))
"""
"""The process around an engine that is none: it signals itself at the given moment."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("where", "is_death"), [("while it serves", False), ("while it loads", True)])
def test_a_signal_ends_it_without_taking_the_server_apart(number: signal.Signals, where: str, is_death: bool) -> None:
    """That can take as long as a ping's interval, beside a stream that runs."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, str(int(number)), where], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-number if is_death else 0, "", "")
