"""Which model a local fleet serves, and what is refused before anything is started."""

import resource
from pathlib import Path

import pytest

from cortex import __version__
from cortex.cli.up import model as module
from cortex.cli.up.model import LocalModel, choose_model
from cortex.contract.error import ConfigError


def choose(wish: str | None, tmp_path: Path, **env: str) -> LocalModel:
    return choose_model(wish, env, tmp_path, tmp_path / "home")


def refusal(wish: str, tmp_path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        choose(wish, tmp_path)
    return caught.value.message


def test_the_demo_model_is_written_once_into_the_users_cache(tmp_path: Path) -> None:
    model = choose(None, tmp_path)
    path = tmp_path / "home" / ".cache" / "cortex" / f"cortex-demo-{__version__}.gguf"
    assert model == LocalModel(id="cortex-demo", source=str(path), is_demo=True)
    assert path.read_bytes()[:4] == b"GGUF"
    before = path.stat()
    assert choose(None, tmp_path) == model
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_cache_is_where_xdg_says(tmp_path: Path) -> None:
    model = choose(None, tmp_path, XDG_CACHE_HOME=str(tmp_path / "c"))
    assert model.source.startswith(str(tmp_path / "c" / "cortex"))


def test_a_cache_at_a_relative_path_is_not_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = choose(None, tmp_path, XDG_CACHE_HOME="c")
    assert model.source.startswith(str(tmp_path / "home" / ".cache"))
    assert not (tmp_path / "c").exists()


def test_a_demo_model_that_is_none_any_more_is_written_anew(tmp_path: Path) -> None:
    path = Path(choose(None, tmp_path).source)
    path.write_text("")
    assert choose(None, tmp_path).source == str(path)
    assert path.read_bytes()[:4] == b"GGUF"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("a file where a directory should be")
    with pytest.raises(ConfigError, match=r"the demo model cannot be written to .*c/cortex/cortex-demo"):
        choose(None, tmp_path, XDG_CACHE_HOME=str(tmp_path / "c"))


def test_a_disk_that_is_full_is_told_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ConfigError) as caught:
            choose(None, tmp_path, XDG_CACHE_HOME=str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "the demo model cannot be written to" in caught.value.message
    assert "None" not in caught.value.message
    assert list((tmp_path / "cortex").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("Qwen3-0.6B-Q8_0.gguf", "Qwen3-0.6B-Q8_0"),
        ("big-00001-of-00003.gguf", "big"),
        ("it's a model.gguf", "it-s-a-model"),
        ("'.gguf", "model"),
    ],
)
def test_a_file_is_served_under_its_name(tmp_path: Path, name: str, model_id: str) -> None:
    (tmp_path / name).write_bytes(b"GGUF....")
    assert choose(name, tmp_path) == LocalModel(id=model_id, source=str(tmp_path / name))


def test_a_file_that_is_no_gguf_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"\x10\0\0\0")
    said = refusal("m.safetensors", tmp_path)
    assert said == "--model m.safetensors: not a GGUF file; llama.cpp reads no other kind"


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    assert refusal("m.gguf", tmp_path) == "--model m.gguf: cannot be read: No such file or directory"
    assert refusal(".", tmp_path) == "--model .: cannot be read: Is a directory"


@pytest.mark.parametrize("wish", ["hf:Qwen/Qwen3-0.6B-GGUF", "hf:Qwen/Qwen3-0.6B-GGUF:Qwen3-0.6B-Q8_0.gguf"])
def test_a_repository_is_served_under_its_name(tmp_path: Path, wish: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: name)
    assert choose(wish, tmp_path) == LocalModel(id="Qwen/Qwen3-0.6B-GGUF", source=wish)


@pytest.mark.parametrize("wish", ["hf:", "hf:name", "hf:a/b/c", "hf:a/b:", "hf:a/b:c:d", "hf:a /b"])
def test_a_malformed_repository_is_refused_at_once(tmp_path: Path, wish: str) -> None:
    assert "expected hf:OWNER/NAME or hf:OWNER/NAME:FILE.gguf" in refusal(wish, tmp_path)


def test_without_the_hub_library_the_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    assert "pip install 'cortex-gateway[neuron]'" in refusal("hf:a/b", tmp_path)


def test_a_path_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m\udcff.gguf"
    path.write_bytes(b"GGUF")
    assert "not UTF-8 text" in refusal(str(path), tmp_path)
