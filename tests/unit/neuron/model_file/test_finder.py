"""Which file is meant: by path, by id and quantisation, or in a repository; what is not clear is asked, not guessed."""

from pathlib import Path

import pytest
from tests.unit.closed_folder import close
from tests.unit.neuron.file_tree import plant

from cortex.neuron.model_file import finder
from cortex.neuron.model_file.finder import choose_in_repo, find_by_id, find_file, is_model_file
from cortex.neuron.refusal import SourceMissing


def found(root: Path, model_id: str, quant: str | None, *names: str) -> str:
    """Return which of these files below a model directory is taken."""
    plant(root, dict.fromkeys(names, ""))
    return str(find_by_id(model_id, quant, [str(root)]).relative_to(root))


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    file = plant(tmp_path, {"any name": ""}) / "any name"
    assert find_file(str(file)) == file


def test_a_tilde_is_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(plant(tmp_path, {"m.gguf": ""})))
    assert find_file("~/m.gguf") == tmp_path / "m.gguf"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("m.gguf", "mmproj 'm.gguf': give an absolute path, or hf:<repo>[:<file>]"),
        ("/none/m.gguf", "mmproj '/none/m.gguf': no such file on this node"),
        ("/", "mmproj '/': no such file on this node"),
    ],
    ids=["relative", "missing", "a folder"],
)
def test_a_path_that_leads_to_no_file_is_refused(source: str, words: str) -> None:
    with pytest.raises(SourceMissing) as refusal:
        find_file(source, "mmproj")
    assert refusal.value.message == words


@pytest.mark.parametrize("what", ["source", "mmproj"])
@pytest.mark.parametrize("name", ["home", "home/m.gguf", "home/me/m.gguf"])
def test_a_path_that_the_neuron_may_not_look_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, name: str
) -> None:
    source = plant(tmp_path, {"home/m.gguf": "", "home/me/m.gguf": ""}) / name
    close(monkeypatch, tmp_path / "home")
    with pytest.raises(SourceMissing) as refusal:
        find_file(str(source), what)
    assert refusal.value.message == f"{what} '{source}': the neuron may not look there: Permission denied"


@pytest.mark.parametrize("name", ["home", "home/models"])
def test_a_model_directory_that_the_neuron_may_not_look_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = plant(tmp_path, {"home/models/README": "", "srv/m-Q8_0.gguf": ""}) / name
    close(monkeypatch, tmp_path / "home")
    srv = str(tmp_path / "srv")
    assert find_by_id("m", None, [str(folder), srv]) == tmp_path / "srv" / "m-Q8_0.gguf"
    with pytest.raises(SourceMissing) as refusal:
        find_by_id("n", None, [str(folder), srv])
    assert f"below model_dirs ({folder}, {srv}), of which the neuron may not look into {folder};" in str(refusal.value)


FOLDER = ("m-Q4_K_M.gguf", "m-Q8_0.gguf", "mmproj-F16.gguf", "big/m-BF16-00001-of-00002.gguf")
PARTS = ("big/m-BF16-00002-of-00002.gguf", "deep/er/m-Q2_K.gguf")


@pytest.mark.parametrize(
    ("quant", "expected"),
    [(None, FOLDER[0]), ("q8_0", FOLDER[1]), ("BF16", FOLDER[3])],
    ids=["Q4_K_M where none is asked for", "the asked one", "the first of its parts"],
)
def test_a_folder_holds_the_file_in_the_asked_quantisation(tmp_path: Path, quant: str | None, expected: str) -> None:
    plant(tmp_path, dict.fromkeys((*FOLDER, *PARTS), ""))
    assert find_file(str(tmp_path), quant=quant) == tmp_path / expected


@pytest.mark.parametrize(
    ("names", "quant", "words"),
    [
        (
            (*FOLDER, *PARTS),
            "IQ1_S",
            "no file in IQ1_S; there are: big/m-BF16-00001-of-00002.gguf, m-Q4_K_M.gguf, m-Q8_0",
        ),
        ((*FOLDER, *PARTS), "Q2_K", "no file in Q2_K; there are:"),
        (FOLDER, "BF16", "parts are missing: big/m-BF16-00002-of-00002.gguf"),
        (("a-Q8_0.gguf", "b-Q8_0.gguf"), "Q8_0", "several files fit: a-Q8_0.gguf, b-Q8_0.gguf"),
        (("README.md",), None, "it holds no GGUF file"),
    ],
    ids=["not offered", "too deep", "not all of it", "not clear", "no model"],
)
def test_a_folder_without_it_says_what_there_is(
    tmp_path: Path, names: tuple[str, ...], quant: str | None, words: str
) -> None:
    plant(tmp_path, dict.fromkeys(names, ""))
    with pytest.raises(SourceMissing) as refusal:
        find_file(str(tmp_path), quant=quant)
    assert refusal.value.message.startswith(f"source '{tmp_path}': {words}")


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("m-Q8_0.gguf", "q8_0"),
        ("m-UD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("m-Q8_0-00001-of-00002.gguf", "Q8_0"),
        ("m.Q8_0.gguf", "Q8_0"),
        ("model.gguf", "Q8_0"),
        ("m-it.gguf", "Q8_0"),
    ],
    ids=["its own", "a dynamic one", "of a first part", "after a dot", "a name without one", "another word"],
)
def test_a_file_is_taken_in_the_quantisation_that_its_name_says_or_does_not(
    tmp_path: Path, name: str, quant: str
) -> None:
    file = plant(tmp_path, {name: ""}) / name
    assert find_file(str(file), quant=quant) == file


@pytest.mark.parametrize(
    ("name", "own"),
    [("m-Q8_0.gguf", "Q8_0"), ("m-BF16-00001-of-00002.gguf", "BF16"), ("m.IQ2_XXS.gguf", "IQ2_XXS")],
)
def test_a_file_whose_name_says_another_quantisation_is_never_silently_taken(
    tmp_path: Path, name: str, own: str
) -> None:
    file = plant(tmp_path, {name: ""}) / name
    with pytest.raises(SourceMissing, match=f"says {own}, not Q4_K_M: leave `quant` out"):
        find_file(str(file), quant="Q4_K_M")


def test_a_model_that_is_there_in_another_quantisation_says_in_which(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"quant: no file of o/m in Q2_K; there are: .*/m-Q8_0.gguf"):
        found(tmp_path, "o/m", "Q2_K", "m-Q8_0.gguf")


@pytest.mark.parametrize(
    ("model_id", "quant", "names", "expected"),
    [
        ("Qwen/Qwen3-8B", None, ("a/Qwen3-8B.gguf", "Qwen3-8B-Instruct.gguf"), "a/Qwen3-8B.gguf"),
        ("Qwen/Qwen3-8B", None, ("qwen3_8b-Q4_K_M.GGUF", "Qwen3-8B-VL-Q4_K_M.gguf"), "qwen3_8b-Q4_K_M.GGUF"),
        ("Qwen/Qwen3-8B", "Q8_0", ("Qwen3-8B-Q8_0.gguf", "Qwen3-8B-Q4_K_M.gguf"), "Qwen3-8B-Q8_0.gguf"),
        ("Qwen/Qwen3-8B", "f16", ("Qwen3-8B-F16.gguf", "Qwen3-8B-BF16.gguf"), "Qwen3-8B-F16.gguf"),
        ("m", "IQ2_XXS", ("m-UD-IQ2_XXS.gguf", "m-Q2_K.gguf"), "m-UD-IQ2_XXS.gguf"),
        ("m", None, ("m-BF16-00001-of-00002.gguf", "m-BF16-00002-of-00002.gguf"), "m-BF16-00001-of-00002.gguf"),
        ("m", None, ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"), "m-00001-of-00002.gguf"),
        ("m", None, ("m-MXFP4_MOE.gguf", "mmproj-m-F16.gguf", "m-mmproj-F16.gguf"), "m-MXFP4_MOE.gguf"),
        ("o/m", None, ("m/ggml-model.gguf", "n/ggml-model.gguf"), "m/ggml-model.gguf"),
        ("o/m", "Q8_0", ("o/m-GGUF/any-q8_0.gguf", "o/m-GGUF/any-q4_0.gguf"), "o/m-GGUF/any-q8_0.gguf"),
        ("o/m", None, ("o/m.gguf", "p/m.gguf"), "o/m.gguf"),
        ("公司/模型", None, ("模型-Q8_0.gguf", "别的-Q8_0.gguf"), "模型-Q8_0.gguf"),
    ],
    ids=[
        "the name alone",
        "a quantisation after it",
        "the asked quantisation",
        "F16 is not BF16",
        "a dynamic quantisation",
        "the first of its parts",
        "parts without a quantisation",
        "projectors are no models",
        "a folder named so",
        "a folder named so with -GGUF",
        "the owner's of two",
        "letters of other scripts",
    ],
)
def test_a_model_is_found_by_its_id(
    tmp_path: Path, model_id: str, quant: str | None, names: tuple[str, ...], expected: str
) -> None:
    assert found(tmp_path, model_id, quant, *names) == expected


def test_two_that_match_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing) as refusal:
        found(tmp_path, "o/m", None, "m-Q4_K_M.gguf", "m-Q8_0.gguf")
    assert refusal.value.message.startswith("2 files could be o/m: ")
    assert all(str(tmp_path / name) in refusal.value.message for name in ("m-Q4_K_M.gguf", "m-Q8_0.gguf"))


@pytest.mark.parametrize(
    ("names", "quant", "words"),
    [
        ((), None, "no GGUF file for o/m below model_dirs"),
        ((), "Q4_K_M", "no GGUF file for o/m in Q4_K_M below"),
        (("m2.gguf", "xm.gguf", "m.safetensors", "m-00002-of-00002.gguf"), None, "give `source`: an absolute path"),
    ],
    ids=["nothing there", "nothing in a quantisation", "names alike"],
)
def test_one_that_is_not_there_is_told_with_what_to_do(
    tmp_path: Path, names: tuple[str, ...], quant: str | None, words: str
) -> None:
    with pytest.raises(SourceMissing) as refusal:
        found(tmp_path, "o/m", quant, *names)
    assert words in refusal.value.message
    assert refusal.value.details == {"model_dirs": [str(tmp_path)]}


def test_without_model_directories_that_is_told() -> None:
    with pytest.raises(SourceMissing, match=r"below model_dirs \(none are configured\)"):
        find_by_id("m", None, [])


def test_folders_above_the_model_directory_name_no_model(tmp_path: Path) -> None:
    """Else every file of ``/srv/llama`` would be the model ``llama``."""
    with pytest.raises(SourceMissing):
        found(tmp_path / "llama" / "models", "meta/llama", None, "phi.gguf")


def test_a_file_seen_by_two_ways_is_one(tmp_path: Path) -> None:
    plant(tmp_path, {"blobs/0a1b": "", "a/b/other.gguf": ""})
    link = tmp_path / "snapshots" / "m-Q8_0.gguf"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "blobs/0a1b")
    (tmp_path / "snapshots" / "m.gguf").symlink_to(tmp_path / "blobs/0a1b")
    path = find_by_id("m", None, [str(tmp_path), str(tmp_path / "snapshots")])
    assert path.parent == link.parent, "the link is given: further parts lie beside it"


def test_what_only_looks_like_a_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "m-Q8_0.gguf").symlink_to(tmp_path / "gone")
    (tmp_path / "m-Q4_0.gguf").mkdir()
    (tmp_path / "m-Q5_0.gguf").symlink_to("m-Q5_0.gguf")
    assert found(tmp_path, "m", None, "m-Q6_K.gguf") == "m-Q6_K.gguf"


def test_a_model_directory_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    plant(tmp_path, {"m.gguf": ""})
    assert find_by_id("m", None, [str(tmp_path / "none"), str(tmp_path)]) == tmp_path / "m.gguf"


def test_a_directory_with_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "MAX_FILES", 2)
    with pytest.raises(SourceMissing, match="more than 2 files below"):
        found(tmp_path, "m", None, "a.gguf", "b.gguf", "c.gguf")


REPO = (
    ".gitattributes",
    "README.md",
    "m-Q4_K_M.gguf",
    "m-Q8_0.gguf",
    "mmproj-F16.gguf",
    "BF16/m-BF16-00001-of-00002.gguf",
    "BF16/m-BF16-00002-of-00002.gguf",
)
BF16 = ("BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf")


@pytest.mark.parametrize(
    ("names", "file", "quant", "expected"),
    [
        (REPO, None, None, ("m-Q4_K_M.gguf",)),
        (REPO, None, "q8_0", ("m-Q8_0.gguf",)),
        (REPO, None, "BF16", BF16),
        (REPO, BF16[0], "Q8_0", BF16),
        (REPO, BF16[1], None, BF16[1:]),
        (REPO, "mmproj-F16.gguf", None, ("mmproj-F16.gguf",)),
        (("m-IQ1_S.gguf",), None, None, ("m-IQ1_S.gguf",)),
    ],
    ids=["Q4_K_M", "the asked one", "all parts", "the named one", "a named part", "a projector", "the only one"],
)
def test_of_a_repository_one_models_files_are_taken(
    names: tuple[str, ...], file: str | None, quant: str | None, expected: tuple[str, ...]
) -> None:
    assert choose_in_repo(names, file, quant) == expected


@pytest.mark.parametrize(
    ("names", "file", "quant", "words"),
    [
        (REPO, "x.gguf", None, "no file 'x.gguf'; there are: BF16/m-BF16-00001-of-00002.gguf, m-Q4_K_M.gguf, m-Q8_0"),
        (("README.md", "model.safetensors"), None, None, "it holds no GGUF file"),
        (REPO, None, "Q2_K", "no file in Q2_K; there are: BF16/"),
        (("a-Q8_0.gguf", "b-Q8_0.gguf"), None, "Q8_0", "several files fit: a-Q8_0.gguf, b-Q8_0.gguf; name one: hf:"),
        (("a.gguf", "b.gguf"), None, None, "several files fit: a.gguf, b.gguf"),
        (BF16[:1], None, None, f"parts are missing: {BF16[1]}"),
        (tuple(f"{number:02d}.gguf" for number in range(13)), "x", None, "10.gguf, 11.gguf, …"),
    ],
    ids=["no such file", "no model", "no such quantisation", "two", "two of unknown", "half of it", "many"],
)
def test_why_not_exactly_one_is_told(names: tuple[str, ...], file: str | None, quant: str | None, words: str) -> None:
    answer = choose_in_repo(names, file, quant)
    assert isinstance(answer, str)
    assert words in answer


@pytest.mark.parametrize(
    ("name", "is_model"),
    [
        ("m.gguf", True),
        ("M.GGUF", True),
        ("m-00001-of-00009.gguf", True),
        ("m-00002-of-00009.gguf", False),
        ("mmproj-m.gguf", False),
        ("m-mmproj-f16.gguf", False),
        ("m.gguf.part", False),
    ],
)
def test_projectors_and_further_parts_are_no_models(name: str, is_model: bool) -> None:
    assert is_model_file(name) == is_model


def test_a_tilde_of_nobody_is_a_source_that_is_missing() -> None:
    with pytest.raises(SourceMissing, match=r"source ~nobody-is-called-so/m\.gguf: there is no such user"):
        find_file("~nobody-is-called-so/m.gguf")
