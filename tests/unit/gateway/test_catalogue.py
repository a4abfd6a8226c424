"""What may be written into models.toml, and what is said about the rest."""

from pathlib import Path

import pytest
from tests.unit.closed_folder import close
from tests.unit.fleet.builder import a_node
from tests.unit.gateway.test_settings import MISSION as GATEWAY

from cortex.contract.error import ConfigError
from cortex.contract.profile import Profile, Variant
from cortex.fleet.placement import Placements, find_valid_placements
from cortex.gateway.catalogue import load_catalogue, read_catalogue
from cortex.gateway.settings import load_gateway_settings

MISSION = """\
[[models]]
id = "Qwen/Qwen3-Coder-30B-A3B-Instruct"
harness = "mistralrs"
quant = "Q4_K_M"
vram_mb = 19000
min_devices = 2
min_device_vram_mb = 10000
pinned_on = ["beast"]

[[models]]
id = "Qwen/Qwen3-VL-8B"
harness = "mistralrs"
quant = "Q8_0"
vram_mb = 10000
min_devices = 1

[[models]]
id = "Qwen/Qwen2.5-Coder-14B-Instruct"
harness = "mistralrs"
quant = "Q6_K"
vram_mb = 12000
min_devices = 1
pinned_on = ["benjy"]
"""

EVERYTHING = """\
[[models]]
id = "a/b"
harness = "llamacpp"
aliases = ["fast", "gpt-4o"]
source = "hf:a/b-GGUF:q4.gguf"
args = ["--flash-attn", "on"]
context = 8192
parallel = 4
mmproj = "mmproj.gguf"
priority = -1
queue_priority = 3
preload = true
min_devices = 0
min_replicas = 1
max_replicas = 2
idle_unload_s = 600
min_residency_s = 0
capabilities = ["chat", "tools"]
labels = { team = "red" }
images_workflow = "sdxl.json"
"""

GROUP = '[[groups]]\nname = "small"\n'


def read(tmp_path: Path, text: str) -> tuple[Profile, ...]:
    path = tmp_path / "models.toml"
    path.write_text(text)
    return read_catalogue(path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return caught.value.message.replace(f"{tmp_path}/", "")


def entry(id: str = "m", **keys: str) -> str:
    return "\n".join(["[[models]]", f'id = "{id}"', 'harness = "h"', *(f"{k} = {v}" for k, v in keys.items()), ""])


def test_the_missions_example_loads_as_written(tmp_path: Path) -> None:
    assert read(tmp_path, MISSION) == (
        Profile(
            id="Qwen/Qwen3-Coder-30B-A3B-Instruct",
            harness="mistralrs",
            quant="Q4_K_M",
            vram_mb=19000,
            min_devices=2,
            min_device_vram_mb=10000,
            pinned_on=("beast",),
        ),
        Profile(id="Qwen/Qwen3-VL-8B", harness="mistralrs", quant="Q8_0", vram_mb=10000, min_devices=1),
        Profile(
            id="Qwen/Qwen2.5-Coder-14B-Instruct",
            harness="mistralrs",
            quant="Q6_K",
            vram_mb=12000,
            min_devices=1,
            pinned_on=("benjy",),
        ),
    )


def test_every_key_of_the_contract_is_known(tmp_path: Path) -> None:
    (profile,) = read(tmp_path, EVERYTHING)
    assert profile.aliases == ("fast", "gpt-4o")
    assert (profile.context, profile.parallel, profile.idle_unload_s, profile.labels) == (8192, 4, 600, {"team": "red"})


def test_an_empty_file_is_an_empty_catalogue(tmp_path: Path) -> None:
    assert read(tmp_path, "") == ()


def test_the_default_file_beside_the_config_is_optional(tmp_path: Path) -> None:
    assert load_catalogue(None, tmp_path / "cortex.toml") == ()
    (tmp_path / "models.toml").write_text(entry())
    assert [profile.id for profile in load_catalogue(None, tmp_path / "cortex.toml")] == ["m"]
    assert load_catalogue(None, None) == ()


def test_a_default_file_that_was_there_must_still_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.toml: no such file"):
        load_catalogue(None, tmp_path / "cortex.toml", must_exist=True)


def test_what_is_no_file_is_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "models.toml").mkdir()
    with pytest.raises(ConfigError, match=r"models\.toml: not a file"):
        load_catalogue(None, tmp_path / "cortex.toml")


@pytest.mark.parametrize("named", ["home/models.toml", None])
def test_a_file_that_may_not_be_looked_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    close(monkeypatch, tmp_path / "home")
    with pytest.raises(ConfigError, match=r"models\.toml: this user may not look for it there: Permission denied"):
        load_catalogue(named and str(tmp_path / named), tmp_path / "home" / "cortex.toml")


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(entry())
    with pytest.raises(ConfigError, match=r"mine\.toml: no such file \(named by \[gateway\] models\)"):
        load_catalogue(str(tmp_path / "mine.toml"), tmp_path / "cortex.toml")
    (tmp_path / "mine.toml").write_text(entry("other"))
    assert [p.id for p in load_catalogue(str(tmp_path / "mine.toml"), tmp_path / "cortex.toml")] == ["other"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (entry(vram_md="5"), "[[models]] entry 1 (m): vram_md: unknown key; did you mean 'vram_mb'?"),
        (entry() + entry("n", vram_mb='"5"'), "[[models]] entry 2 (n): vram_mb: expected a whole number, got a string"),
        (entry(vram_mb="0"), "[[models]] entry 1 (m): vram_mb: expected a number above 0, got 0"),
        (entry(min_devices="-1"), "[[models]] entry 1 (m): min_devices: expected 0 or more, got -1"),
        (entry(idle_unload_s="nan"), "[[models]] entry 1 (m): idle_unload_s: expected a number above 0, got nan"),
        (entry(min_residency_s="nan"), "[[models]] entry 1 (m): min_residency_s: expected 0 or more, got nan"),
        (
            entry(aliases=f'["{"x" * 1025}"]'),
            "[[models]] entry 1 (m): aliases: expected at most 1024 characters, got 1025",
        ),
        (entry(parallel="0"), "[[models]] entry 1 (m): parallel: expected a number above 0, got 0"),
        (
            entry(min_replicas="2", max_replicas="1"),
            "[[models]] entry 1 (m): max_replicas: expected at least min_replicas (2), got 1",
        ),
        (entry(quant='""'), "[[models]] entry 1 (m): quant: expected text without blanks around it, got ''"),
        (
            entry(aliases='[" x"]'),
            "[[models]] entry 1 (m): aliases: expected text without blanks around it, got ' x'",
        ),
        (
            entry(aliases='["x\\ty"]'),
            "[[models]] entry 1 (m): aliases: expected printable text, got 'x\\ty'",
        ),
        (
            '[[models]]\nid = "a\\u0007"\nharness = "h"\n',
            "[[models]] entry 1 ('a\\x07'): id: expected printable text, got 'a\\x07'",
        ),
        ('[[models]]\nid = "m"\n', "[[models]] entry 1 (m): harness: missing, but required"),
        ('[[models]]\nharness = "h"\n', "[[models]] entry 1: id: missing, but required"),
        (entry() + entry(), "id 'm' stands twice; an id names one model"),
        (entry(aliases='["n"]') + entry("n"), "m: aliases: 'n' is a name of n already"),
        (entry(aliases='["x"]') + entry("n", aliases='["x"]'), "n: aliases: 'x' is a name of m already"),
        (entry(aliases='["x", "x"]'), "m: aliases: 'x' is a name of m already"),
        (entry(aliases='["m"]'), "m: aliases: 'm' is its own id"),
        ('[models]\nid = "m"\n', "models: expected [[models]] (two brackets), got [models]"),
        ("models = [3]\n", "[[models]] entry 1: expected a table"),
        ("[[model]]\n", "model: unknown key; did you mean 'models'?"),
        ("[gateway]\n", "gateway: unknown key; every entry stands under [[models]] or [[groups]]"),
        (entry(vllm="{ vram = 5 }"), "[[models]] entry 1 (m): vllm: vram: unknown key; did you mean 'vram_mb'?"),
        (entry(vllm="{ context = 0 }"), "[[models]] entry 1 (m): vllm: context: expected a number above 0, got 0"),
        (entry(vllm="{ aliases = [] }"), "[[models]] entry 1 (m): vllm: aliases: unknown key; known are: "),
        (entry(group='"smal"') + GROUP, "[[models]] entry 1 (m): group: no [[groups]] entry has the name 'smal'; did"),
        ("[groups]\n", "groups: expected [[groups]] (two brackets), got [groups]"),
        ("groups = [3]\n", "[[groups]] entry 1: name: expected text without blanks around it"),
        ("[[groups]]\nparallel = 2\n", "[[groups]] entry 1: name: expected text without blanks around it"),
        (GROUP + GROUP, "[[groups]] entry 2 (small): name: 'small' stands twice; a name means one group"),
        (GROUP + 'id = "m"\n', "[[groups]] entry 1 (small): id: belongs to one model, not to a group"),
        (GROUP + "contxt = 1\n", "[[groups]] entry 1 (small): contxt: unknown key; did you mean 'context'?"),
    ],
)
def test_a_fault_is_told_with_file_entry_key_and_expectation(tmp_path: Path, text: str, words: str) -> None:
    assert refusal(tmp_path, text).startswith(f"models.toml: {words}")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    said = refusal(tmp_path, entry("a", vram_mb="-1") + entry("b") + entry("c", contxt="1") + entry("b"))
    assert [line.split(": ")[1] for line in said.splitlines()] == [
        "[[models]] entry 1 (a)",
        "[[models]] entry 3 (c)",
        "id 'b' stands twice; an id names one model",
    ]


def test_a_groups_keys_are_a_models_own_where_it_does_not_say_otherwise(tmp_path: Path) -> None:
    text = """\
[[models]]
id = "a"
group = "small"
parallel = 8
args = ["--b"]

[[models]]
id = "b"
group = "small"
harness = "vllm"

[[models]]
id = "c"
harness = "llamacpp"

[[groups]]
name = "small"
harness = "llamacpp"
parallel = 4
args = ["--a"]
labels = { team = "red" }
"""
    a, b, c = read(tmp_path, text)
    assert (a.harness, a.parallel, a.args, a.labels, a.group) == ("llamacpp", 8, ("--b",), {"team": "red"}, "small")
    assert (b.harness, b.parallel, b.args) == ("vllm", 4, ("--a",))
    assert c == Profile(id="c", harness="llamacpp")


def test_a_table_named_after_a_harness_says_what_is_otherwise_there(tmp_path: Path) -> None:
    (profile,) = read(
        tmp_path, entry(quant='"Q4_K_M"') + '[models.vllm]\nsource = "hf:m"\nmin_devices = 2\n[models."gpu box"]\n'
    )
    assert profile.variants == {"vllm": Variant(source="hf:m", min_devices=2), "gpu box": Variant()}


def test_tables_of_a_group_and_of_a_model_in_it_are_merged(tmp_path: Path) -> None:
    text = (
        entry(group='"small"', labels='{ team = "blue" }')
        + '[models.vllm]\nsource = "hf:m"\n'
        + GROUP
        + 'labels = { team = "red", cost = "1" }\n[groups.vllm]\nsource = "hf:other"\nparallel = 64\n'
    )
    (profile,) = read(tmp_path, text)
    assert profile.variants == {"vllm": Variant(source="hf:m", parallel=64)}
    assert profile.labels == {"team": "blue", "cost": "1"}


def test_of_a_faulty_group_only_the_group_is_told(tmp_path: Path) -> None:
    text = '[[models]]\nid = "m"\ngroup = "small"\n' + GROUP + "parallel = 0\n"
    said = refusal(tmp_path, text)
    assert said == "models.toml: [[groups]] entry 1 (small): parallel: expected a number above 0, got 0"


# The example fleet: its files as they are written, its nodes as they are told

EXAMPLE_MB = {"beast": (32_000, 32_000), "benjy": (24_000,), "quadbrat": (12_000,)}


@pytest.fixture
def placed(tmp_path: Path) -> dict[str, Placements]:
    (tmp_path / "cortex.toml").write_text(GATEWAY)
    (tmp_path / "models.toml").write_text(MISSION)
    settings = load_gateway_settings(tmp_path / "cortex.toml", {})
    nodes = [a_node(entry.name, EXAMPLE_MB[entry.name], harnesses=("mistralrs",)) for entry in settings.neurons]
    return {one.id: find_valid_placements(one, nodes) for one in read_catalogue(tmp_path / "models.toml")}


@pytest.mark.parametrize(
    ("model", "nodes", "pinned"),
    [
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", ["beast"], ["beast"]),
        ("Qwen/Qwen3-VL-8B", ["beast", "benjy", "quadbrat"], []),
        ("Qwen/Qwen2.5-Coder-14B-Instruct", ["beast", "benjy", "quadbrat"], ["benjy"]),
    ],
)
def test_the_examples_models_are_placed_as_it_says(
    placed: dict[str, Placements], model: str, nodes: list[str], pinned: list[str]
) -> None:
    valid = placed[model].valid
    assert sorted(one.node for one in valid) == nodes
    assert [one.node for one in valid if one.is_pinned] == pinned
    assert not pinned or valid[0].node == pinned[0], "a pin ranks first"


def test_the_model_of_two_devices_takes_both_of_the_only_node_that_has_two(placed: dict[str, Placements]) -> None:
    found = placed["Qwen/Qwen3-Coder-30B-A3B-Instruct"]
    assert found.valid[0].devices == (0, 1)
    assert {one.node: one.code for one in found.rejected} == dict.fromkeys(("benjy", "quadbrat"), "too_few_devices")
