"""Files from the hub: found and fetched by real child processes from a hub on loopback, and every way to fail."""

import asyncio
import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.neuron.model_file.loopback_hub import COMMIT, hub

from cortex.neuron.model_file import hub as hub_module
from cortex.neuron.model_file.hub import FetchFailed, HubFile, fetch, find_remote, main
from cortex.neuron.refusal import SourceMissing

SPLIT = ("Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf")
FILES = {"README.md": b"words", "m-Q4_K_M.gguf": b"4444", SPLIT[0]: b"8" * 50, SPLIT[1]: b"8" * 7}
ONLY = {"only-IQ1_S.gguf": b"1"}
HALF = {SPLIT[0]: b"8" * 50, SPLIT[1]: b"8" * 7}


def hub_env(folder: Path, url: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HOME": str(folder / "hf"), "HF_ENDPOINT": url}


def test_a_file_is_found_with_its_parts_and_fetched(tmp_path: Path) -> None:
    async def run() -> None:
        async with hub({"o/m": FILES}) as url:
            env = hub_env(tmp_path, url)
            file = await find_remote("hf:o/m", "q8_0", env)
            assert file == HubFile(repo="o/m", files=SPLIT, size_bytes=57)
            path = await fetch(file, env, tmp_path / "log", is_tethered=True)
        assert [(path.parent.parent / part).read_bytes() for part in SPLIT] == [FILES[part] for part in SPLIT]

    asyncio.run(run())
    assert f"fetching o/m {SPLIT[1]} (2 of 2)" in (tmp_path / "log").read_text()


def test_what_is_in_the_cache_needs_no_fetch(tmp_path: Path) -> None:
    file = HubFile(repo="o/m", files=("m.gguf",), path="/cache/m.gguf")
    assert asyncio.run(fetch(file, {}, tmp_path / "log", is_tethered=True)) == Path("/cache/m.gguf")
    assert not (tmp_path / "log").exists()


MANY = """
import json, sys
from cortex.neuron.model_file.hub import main
for line in sys.stdin:
    main(json.loads(line))
    sys.stdout.flush()
"""
"""Does in one process, started once, what else takes a process each."""


async def ask(child: asyncio.subprocess.Process, *argv: str) -> str:
    """Return the last line of what the child says to a command line."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(argv).encode() + b"\n")
    line = b""
    while not line.startswith((b"{", b"fetched: ")):
        line = await child.stdout.readline()
        assert line, "the child ended"
    return line.decode()


ONLINE = {
    "the named file": ("o/m", "m-Q4_K_M.gguf", "Q8_0"),
    "Q4_K_M": ("o/m", "", ""),
    "the only one": ("o/only", "", ""),
    "no such file": ("o/m", "x.gguf", ""),
    "no such quantisation": ("o/m", "", "Q2_K"),
    "no model": ("o/words", "", ""),
    "no such repository": ("o/none", "", ""),
    "not let in": ("o/private", "", ""),
    "gated": ("o/gated", "", ""),
    "the hub has a fault": ("o/broken", "", ""),
    "a name that cannot be": ("not a name", "", ""),
}
OFFLINE = {
    "the only one, in the cache": ("o/only", "", ""),
    "another one than in the cache": ("o/half", "", "Q4_K_M"),
    "the one in the cache, for want of Q4_K_M": ("o/half", "", ""),
    "nothing in the cache": ("o/m", "", ""),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what is said to all of the questions above."""
    folder = tmp_path_factory.mktemp("hub")
    repositories = {
        "o/m": FILES,
        "o/only": ONLY,
        "o/half": HALF,
        "o/words": {"README.md": b""},
        "o/private": 401,
        "o/gated": 403,
        "o/broken": 400,
    }

    async def run() -> list[str]:
        async with hub(repositories) as url:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", MANY),
                env=hub_env(folder, url),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            said = [await ask(child, "find", *question) for question in ONLINE.values()]
            await ask(child, "fetch", "o/only", "1", *ONLY)
            await ask(child, "fetch", "o/half", "57", *HALF)
        said += [await ask(child, "find", *question) for question in OFFLINE.values()]
        await child.communicate(b"")  # no more questions
        return said

    return dict(zip((*ONLINE, *OFFLINE), map(json.loads, asyncio.run(run())), strict=True))


@pytest.mark.parametrize(
    ("question", "files", "size_bytes"),
    [
        ("the named file", ["m-Q4_K_M.gguf"], 4),
        ("Q4_K_M", ["m-Q4_K_M.gguf"], 4),
        ("the only one", ["only-IQ1_S.gguf"], 1),
        ("the only one, in the cache", ["only-IQ1_S.gguf"], 1),
        ("the one in the cache, for want of Q4_K_M", list(SPLIT), 57),
    ],
)
def test_one_file_is_meant(answers: dict[str, Any], question: str, files: list[str], size_bytes: int) -> None:
    found = answers[question]["found"]
    assert (found["files"], found["size_bytes"]) == (files, size_bytes)
    assert (found["path"] is not None) == (question in OFFLINE)
    if found["path"]:
        assert found["path"].endswith(f"/snapshots/{COMMIT}/{files[0]}")


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("no such file", "no file 'x.gguf'; there are: Q8_0/m-Q8_0-00001-of-00002.gguf, m-Q4_K_M.gguf"),
        ("no such quantisation", "no file in Q2_K; there are: "),
        ("no model", "it holds no GGUF file"),
        ("no such repository", "there is no such repository or file, or it is private (then set HF_TOKEN"),
        ("not let in", "there is no such repository or file, or it is private"),
        ("gated", "the repository is gated: accept its terms, and set HF_TOKEN in the harness entry's env"),
        ("the hub has a fault", "Hugging Face answered 400"),
        ("a name that cannot be", "Repo id must use alphanumeric chars"),
        ("another one than in the cache", "copy the file to this node and give its path, or set HF_ENDPOINT"),
        ("nothing in the cache", "Hugging Face cannot be reached ("),
    ],
)
def test_why_there_is_none_is_told(answers: dict[str, Any], question: str, words: str) -> None:
    assert answers[question]["found"] is None
    assert words in answers[question]["trouble"]


def run_as(monkeypatch: pytest.MonkeyPatch, words: str, test: Coroutine[Any, Any, Any]) -> None:
    """Run a test with a shell in the child's place."""
    monkeypatch.setattr(hub_module, "_SELF", ("sh", "-c", words))
    asyncio.run(test)


ENV = {"PATH": os.environ["PATH"]}
FILE = HubFile(repo="o/m", files=("m.gguf",), size_bytes=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ('echo \'{"found": null, "trouble": "why"}\'; exit 1', "hf:o/m: why"),
        ("echo Traceback >&2; echo 'KeyError: 1' >&2; exit 1", "hf:o/m: KeyError: 1"),
        ("echo garbage", "hf:o/m: the look-up failed"),
    ],
    ids=["it says why", "it breaks", "it says nothing"],
)
def test_a_look_up_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, words: str, message: str) -> None:
    async def run() -> None:
        with pytest.raises(SourceMissing) as refusal:
            await find_remote("hf:o/m", None, ENV)
        assert refusal.value.message == message

    run_as(monkeypatch, words, run())


def test_a_look_up_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "FIND_DEADLINE_S", 0.05)
    os.mkfifo(tmp_path / "fifo")

    async def run() -> None:
        with pytest.raises(SourceMissing, match="hf:o/m: Hugging Face did not answer within 0 s"):
            await find_remote("hf:o/m", None, ENV)

    run_as(monkeypatch, f"read -r line <> {tmp_path}/fifo", run())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("echo fetching; echo 'error: o/m: it is gated'; exit 1", "o/m: it is gated"),
        ("exit 1", "the fetch ended with code 1"),
        ("kill -KILL $$", "the fetch was killed by SIGKILL (perhaps by the kernel, for want of memory)"),
        ("echo done", "done"),
        ("echo fetched: /tmp/x; exit 1", "fetched: /tmp/x"),
    ],
    ids=["it says why", "it says nothing", "it is killed", "it names no path", "its code is none"],
)
def test_a_fetch_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, message: str) -> None:
    (tmp_path / "log").write_text("fetched: /an/earlier/one\n")

    async def run() -> None:
        with pytest.raises(FetchFailed) as failure:
            await fetch(FILE, ENV, tmp_path / "log", is_tethered=False)
        assert str(failure.value) == message

    run_as(monkeypatch, words, run())


def test_a_progress_bar_before_the_path_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        assert await fetch(FILE, ENV, tmp_path / "log", is_tethered=False) == Path("/models/a b.gguf")

    run_as(monkeypatch, "printf '\\r 50%%|##' >&2; echo 'fetched: /models/a b.gguf'", run())


def test_how_far_a_fetch_is_is_noted_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LOOK_S", 0.01)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "log").write_text("fetched 9 of 10 MiB\n")
    noted: list[float] = []

    async def run() -> None:
        seen = asyncio.Event()

        def note(fraction: float) -> None:
            noted.append(fraction)
            seen.set()

        task = asyncio.create_task(fetch(FILE, ENV, tmp_path / "log", is_tethered=False, progress=note))
        await seen.wait()
        await asyncio.to_thread((tmp_path / "fifo").write_text, "go on\n")
        assert await task == Path("/m")

    run_as(monkeypatch, f"echo 'fetched 25 of 100 MiB'; read -r x < {tmp_path}/fifo; echo 'fetched: /m'", run())
    assert set(noted) == {0.25}


def test_the_child_tells_how_much_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub_module, "TOLD_S", 0.001)
    blobs = tmp_path / "models--o--m" / "blobs"
    told = threading.Event()

    class Slow:
        """A library that is at its second file when somebody looks."""

        constants = SimpleNamespace(HF_HUB_CACHE=str(tmp_path))

        def hf_hub_download(self, repo: str, name: str) -> str:
            blobs.mkdir(parents=True, exist_ok=True)
            if name == "b.gguf":
                (blobs / "x.incomplete").write_bytes(b"x" * (3 << 20))
                assert told.wait(30)
            (tmp_path / name).write_bytes(b"y" * (2 << 20))
            return str(tmp_path / name)

    real = hub_module._unfinished_bytes

    looks: list[int] = []

    def seen(folder: Path) -> int:
        size_bytes = real(folder)
        if size_bytes:
            looks.append(size_bytes)
        if len(looks) > 1:  # what is stored may have been counted before the second file began
            told.set()
        return size_bytes

    monkeypatch.setattr(hub_module, "_unfinished_bytes", seen)
    monkeypatch.setitem(sys.modules, "huggingface_hub", Slow())  # type: ignore[arg-type]
    assert main(["fetch", "o/m", str(8 << 20), "a.gguf", "b.gguf"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "fetched 5 of 8 MiB" in lines
    assert lines[-1] == f"fetched: {tmp_path}/a.gguf"


def test_a_fetch_that_is_called_off_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    os.mkfifo(tmp_path / "up")

    async def run() -> None:
        task = asyncio.create_task(fetch(FILE, ENV, tmp_path / "log", is_tethered=False))
        pid = int(await asyncio.to_thread((tmp_path / "up").read_text))
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    run_as(monkeypatch, f"echo $$ > {tmp_path}/up; read -r line <> {tmp_path}/fifo", run())


def test_without_the_library_it_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["find", "o/m", "", ""]) == 1
    assert "huggingface-hub is not installed: pip install" in capsys.readouterr().out


class Full:
    """Stands for a library whose every download fills the disk."""

    constants = SimpleNamespace(HF_HUB_CACHE="/nowhere")

    def __init__(self, error: OSError) -> None:
        self._error = error

    def hf_hub_download(self, *_: str) -> Callable[[], None]:
        raise self._error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the file cannot be stored: [Errno 28] No space left"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x"),
            "cannot be stored: [Errno 13] Permission denied: '/x'",
        ),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset"), "Hugging Face cannot be reached (Connection"),
    ],
    ids=["a full disk", "a folder of somebody else's", "a broken connection"],
)
def test_a_disk_is_not_taken_for_the_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, words: str
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Full(error))  # type: ignore[arg-type]
    assert main(["fetch", "o/m", "1", "m.gguf"]) == 1
    assert words in capsys.readouterr().out
