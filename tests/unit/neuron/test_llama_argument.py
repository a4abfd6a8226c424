"""What a load may say to llama-server, and what it may not, in whatever spelling."""

from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant

from cortex.contract.error import MalformedRequest
from cortex.neuron.embedded.flag import TOGGLES, VALUED
from cortex.neuron.llama_argument import FIELDS, FILES, OWN, TUNING, check_args, own_flags

DANGEROUS = (
    *("--slot-save-path", "--log-file", "--log-prompts-dir", "-lcd", "--lookup-cache-dynamic", "--ssl-key-file"),
    *("--ssl-cert-file", "--rpc", "--path", "--media-path", "--props", "--tools", "--tools-runtime", "--agent", "-ag"),
    *("--mcp-servers-config", "--mcp-servers-json", "--ui-mcp-proxy", "--webui-mcp-proxy", "--ui-config-file"),
    *("--video-ffmpeg-dir", "--models-dir", "--models-preset", "--models-autoload", "--models-max", "--reuse-port"),
    *("-hf", "-hfr", "--hf-repo", "-hff", "--hf-file", "-hft", "--hf-token", "-mu", "--model-url", "-dr"),
    *("--docker-repo", "-mmu", "--mmproj-url", "-hfd", "--hf-repo-draft", "--spec-draft-hf", "-md", "--model-draft"),
    *("--gpt-oss-20b-default", "--fim-qwen-7b-spec", "--cors-origins", "--cors-credentials", "--lora-scaled"),
    *("--version", "--help", "--list-devices", "--log-disable", "--no-such-flag", "-", "--", "-1x"),
)


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--embeddings", "--pooling", "mean"),
        ("-fa", "on", "-ctk", "q8_0", "--n-cpu-moe", "12"),
        ("--temp", "0.5", "--seed", "-1", "--repeat-last-n", "-1"),
        ("--chat-template-kwargs", '{"enable_thinking": false}'),
        ("--flash_attn", "on"),
        ("--temp=0.5",),
        ("--logit-bias", "15043-1"),
    ],
)
def test_what_tunes_the_engine_may_be_given(args: tuple[str, ...]) -> None:
    check_args(args, (), ())


@pytest.mark.parametrize("flag", DANGEROUS)
def test_no_other_flag_may_be_given(flag: str) -> None:
    for args in ((flag, "x"), (f"{flag}=x",), ("--jinja", flag)):
        with pytest.raises(MalformedRequest, match=f"args: {flag} cannot be given by a load"):
            check_args(args, (), ("/",))


@pytest.mark.parametrize("flag", ["--slot_save_path", "--mcp_servers-json", "--rpc_"])
def test_an_underscore_is_a_dash(flag: str) -> None:
    with pytest.raises(MalformedRequest, match="cannot be given by a load"):
        check_args((flag, "x"), (), ())


@pytest.mark.parametrize("flag", [*sorted(OWN), "--api_key", "--api_prefix", "--port=1"])
def test_what_is_the_neurons_may_nobody_give(flag: str) -> None:
    with pytest.raises(MalformedRequest, match=f"args: {flag} cannot be given, the neuron sets it itself"):
        check_args((flag, "x"), (flag,), ())
    assert own_flags(("--jinja", flag, "x", "--hosts")) == [flag]


@pytest.mark.parametrize(("flag", "field"), sorted(FIELDS.items()))
def test_what_memory_is_reckoned_by_is_given_as_a_field(flag: str, field: str) -> None:
    with pytest.raises(MalformedRequest, match=f"args: {flag} cannot be given, `{field}` of the load says that"):
        check_args((flag, "1"), (), ())
    check_args((flag, "1"), (flag,), ())


def test_an_entry_can_let_loads_give_a_flag() -> None:
    check_args(("--slot-save-path", "/x"), ("--slot-save-path",), ())
    check_args(("--slot_save_path", "/x"), ("--slot-save-path",), ())
    with pytest.raises(MalformedRequest, match="--log-file"):
        check_args(("--slot-save-path", "/x", "--log-file", "/y"), ("--slot-save-path",), ())


@pytest.mark.parametrize("flag", sorted(FILES))
def test_files_are_read_below_the_model_directories_only(tmp_path: Path, flag: str) -> None:
    plant(tmp_path, {"models/a.jinja": "", "models/b.jinja": "", "secret": ""})
    (tmp_path / "models" / "link").symlink_to(tmp_path / "secret")
    models = str(tmp_path / "models")
    check_args((flag, f"{models}/a.jinja"), (), (models,))
    check_args((f"{flag}={models}/a.jinja,{models}/b.jinja",), (), ("/elsewhere", models))
    check_args((flag, "/anywhere"), (flag,), (models,))
    for value in (f"{tmp_path}/secret", f"{models}/../secret", f"{models}/link", "a.jinja", "", f"{models}/a,/etc/x"):
        for args in ((flag, value), (f"{flag}={value}",)) if value else ((flag,), (flag, "")):
            with pytest.raises(MalformedRequest, match="expected a file below model_dirs"):
                check_args(args, (), (models,))


def test_without_model_directories_no_file_is_read() -> None:
    with pytest.raises(MalformedRequest, match=r"below model_dirs \(none are configured\), got '/m/a'"):
        check_args(("--lora", "/m/a"), (), ())


def test_the_embedded_engines_tuning_may_be_given() -> None:
    names = {name for flag in VALUED for name in flag.names} | {
        name for toggle in TOGGLES for name in (*toggle.on, *toggle.off)
    }
    assert names - TUNING - OWN - set(FIELDS) == {"--slot-save-path", "--props", "--reuse-port", "--log-jsonl"}
