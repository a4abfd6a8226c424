"""Where a neuron's configuration comes from, and what ``check`` says about it. Running it is in tests/integration."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.certificate import Authority
from tests.unit.closed_folder import close

from cortex import __version__
from cortex.cli.neuron import run, show_offer
from cortex.contract.node import Device, HarnessDetail
from cortex.neuron.discovery.host import Host
from cortex.neuron.discovery.interface import Reading
from cortex.neuron.inventory import Inventory
from cortex.neuron.offer import Offer

CONFIG = """\
model_dirs = ["models"]
[[harnesses]]
name = "llamacpp"
[[harnesses]]
name = "old"
kind = "openai"
endpoint = "http://localhost:8080"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CORTEX_NEURON_CONFIG", raising=False)
    (tmp_path / "neuron.toml").write_text(CONFIG)
    return tmp_path


def test_check_says_which_model_directory_it_may_not_look_into(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    close(monkeypatch, folder / "models")
    assert run(["check"]) == 0
    assert f"note: model_dirs: this user may not look into {folder}/models" in before_the_offer(capsys)


def test_check_says_what_would_run_and_what_is_odd(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--port", "9191"]) == 0
    assert before_the_offer(capsys) == [
        f"configuration: {folder}/neuron.toml",
        "API on 0.0.0.0:9191",
        "harnesses: llamacpp, old (openai)",
        f"note: model_dirs: {folder}/models is no directory",
    ]


def test_check_names_the_files_that_are_laid_over_the_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "neuron.d").mkdir()
    (folder / "neuron.d/site.toml").write_text("port = 9292\n")
    assert run(["check"]) == 0
    assert before_the_offer(capsys)[:3] == [
        f"configuration: {folder}/neuron.toml",
        f"and over it: {folder}/neuron.d/site.toml",
        "API on 0.0.0.0:9292",
    ]


def before_the_offer(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.partition("\n\n")[0].splitlines()


def test_check_says_what_it_would_offer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check"]) == 0
    offer = capsys.readouterr().out.partition("\n\n")[2].splitlines()
    assert offer[0].partition(": ")[0] == Path("/proc/sys/kernel/hostname").read_text().strip()
    assert offer[1].startswith("GPU driver ")
    assert any(line.startswith("DEVICE") for line in offer)
    assert any(line.split()[:3] == ["old", "openai", "yes"] for line in offer)


def test_check_says_what_is_wrong_with_devices_and_harnesses(capsys: pytest.CaptureFixture[str]) -> None:
    gpu = Device(index=1, name="RTX 4080", vram_total_mb=16376, compute_capability="8.9", uuid="GPU-1")
    host = Host(hostname="beast", os="Fedora Linux 43", kernel="6.17")
    inventory = Inventory(host=host, devices=(gpu,), driver_version="595.80", troubles=("GPU 0: GPU is lost",))
    why_not = "binary /opt/gone: no such executable file"
    told = HarnessDetail(name="main", kind="llamacpp", usable=False, why_not=why_not)
    readings = (Reading(), Reading(vram_free_mb=15000, trouble="its driver does not answer"))
    show_offer(Offer(inventory=inventory, readings=readings, harnesses=(told,)))
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "",
        "beast: Fedora Linux 43, kernel 6.17",
        "GPU driver 595.80, CUDA not found",
        "trouble: GPU 0: GPU is lost",
        "DEVICE NAME KIND MIB FREE COMPUTE NUMA UUID TROUBLE",
        "1 RTX 4080 cuda 16376 15000 8.9 - GPU-1 its driver does not answer",
        "",
        "HARNESS KIND USABLE VERSION CUDA WHY NOT",
        f"main llamacpp no - - {why_not}",
    ]


def test_the_environment_names_another_file_and_other_values(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "other.toml").write_text("port = 1\n")
    monkeypatch.setenv("CORTEX_NEURON_CONFIG", str(folder / "other.toml"))
    monkeypatch.setenv("CORTEX_NEURON_HOST", "127.0.0.1")
    assert run(["check"]) == 0
    assert before_the_offer(capsys)[1:] == [
        "API on 127.0.0.1:1",
        "harnesses: none configured",
        "note: no [[harnesses]]: this neuron can load nothing",
    ]


def test_check_says_which_keys_mean_nothing_to_a_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "neuron.toml").write_text('[[harnesses]]\nname = "lab"\nkind = "llamacpp"\ncmd = "x"\nkey_file = "k"\n')
    assert run(["check"]) == 0
    assert before_the_offer(capsys)[3:] == [
        "note: harnesses: 'lab': `key_file` means nothing to kind llamacpp",
        "note: harnesses: 'lab': `cmd` means nothing to kind llamacpp",
    ]


@pytest.mark.parametrize(("mode", "is_told"), [(0o644, True), (0o640, False)])
def test_check_says_which_secrets_everybody_can_read(
    folder: Path, capsys: pytest.CaptureFixture[str], mode: int, is_told: bool
) -> None:
    for name in ("token", "key"):
        (folder / name).write_text("s3cret")
        (folder / name).chmod(mode)
    entry = '[[harnesses]]\nname = "old"\nkind = "openai"\nendpoint = "http://h"\nkey_file = "key"\n'
    (folder / "neuron.toml").write_text(f'token_file = "token"\n{entry}')
    assert run(["check"]) == 0
    notes = [
        f"note: token_file {folder}/token can be read by every user of this host: chmod o-r it",
        f"note: harnesses: 'old': key_file {folder}/key can be read by every user of this host: chmod o-r it",
    ]
    assert before_the_offer(capsys)[3:] == (notes if is_told else [])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('kind = "command"', "'lab' of kind command needs `cmd`"),
        ('kind = "command"\ncmd = "serve"', "cmd: expected ${PORT} in it"),
        ('kind = "command"\ncmd = "serve ${PORT} ${PROT}"', "there is no ${PROT}"),
        ('kind = "vllm"\nready_path = "x"', "harnesses[0].ready_path: expected"),
        ('kind = "openai"\nendpoint = "http://h"\nkey_file = "none"', "key_file"),
        ('kind = "openai"\nendpoints = ["h"]', "endpoints[0]: expected an http(s) URL"),
        ('kind = "llamacpp"\nargs = ["--port", "1"]', "args: --port cannot be given, the neuron sets it itself"),
    ],
)
def test_check_names_the_key_of_a_harness_that_is_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], entry: str, words: str
) -> None:
    (folder / "neuron.toml").write_text(f'[[harnesses]]\nname = "lab"\n{entry}\n')
    with pytest.raises(SystemExit) as ended:
        run(["check"])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('token_file = "none"', "none: cannot be read: No such file"),
        ('token_file = "/"', "token_file /: cannot be read"),
        ('host = "no host"', "cannot listen on no host"),
        ('host = "192.0.2.7"', "192.0.2.7"),
    ],
)
def test_check_finds_what_would_keep_it_from_starting(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    (folder / "neuron.toml").write_text(f"{line}\n{CONFIG}")
    with pytest.raises(SystemExit) as ended:
        run(["check"])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_check_finds_what_a_harness_misses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "neuron.toml").write_text('[[harnesses]]\nname = "old"\nkind = "openai"\n')
    with pytest.raises(SystemExit) as ended:
        run(["check"])
    assert ended.value.code == 2
    assert "'old' of kind openai needs `endpoint`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["check", "--port", "70000"], "--port: expected 0 to 65535, got 70000"),
        (["--config", "gone.toml"], "gone.toml: no such file (named by --config)"),
        (["chek"], "invalid choice: 'chek'"),
    ],
)
def test_a_wrong_call_ends_with_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(argv)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--version"])
    assert capsys.readouterr().out == f"cortex-neuron {__version__}\n"


EARLY = """
import os, signal
from cortex.cli import neuron
neuron._load = lambda *_: os.kill(os.getpid(), signal.SIGHUP) or os._exit(7)
neuron.main(["check"])
"""


def test_a_hangup_while_it_starts_does_not_kill_it() -> None:
    assert subprocess.run([sys.executable, "-c", EARLY], timeout=60, check=False).returncode == 7


def test_a_reader_that_has_seen_enough_is_no_crash(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "cortex.cli.neuron", "check"]
    try:
        done = subprocess.run(command, cwd=folder, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_check_looks_whether_the_certificate_can_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Authority(folder).issue("neuron")
    monkeypatch.setenv("CORTEX_NEURON_TLS_CERT", pair.cert)
    monkeypatch.setenv("CORTEX_NEURON_TLS_KEY", pair.key)
    assert run(["check"]) == 0
    assert f", TLS by {pair.cert}\n" in capsys.readouterr().out
    Path(pair.cert).write_text("nothing")
    with pytest.raises(SystemExit, match="2"):
        run(["check"])
    assert "tls_cert" in capsys.readouterr().err


def test_check_says_which_engines_are_reached_without_tls(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Authority(folder).issue("neuron")
    monkeypatch.setenv("CORTEX_NEURON_TLS_CERT", pair.cert)
    monkeypatch.setenv("CORTEX_NEURON_TLS_KEY", pair.key)
    plain, encrypted = "http://127.0.0.1:1", "https://127.0.0.1:1"
    cases: list[tuple[dict[str, object], bool]] = [
        ({"endpoint": plain}, True),
        ({"endpoint": plain, "relay": True}, False),
        ({"endpoint": encrypted}, False),
        ({"endpoints": [encrypted]}, False),
        ({"endpoints": [encrypted, plain]}, True),
    ]
    for keys, is_told in cases:
        monkeypatch.setenv("CORTEX_NEURON_HARNESSES", json.dumps([{"name": "openai", **keys}]))
        assert run(["check"]) == 0
        assert ("'openai': gateways speak to its engines without TLS" in capsys.readouterr().out) == is_told
