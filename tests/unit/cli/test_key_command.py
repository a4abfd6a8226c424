"""The command lines about keys, and the credential that commands show."""

from pathlib import Path

import pytest
from tests.unit.cli.desk import desk
from typer.testing import CliRunner

from cortex.cli.command import app

KEY = {"id": "key_1", "name": "a", "shown": "ctx-very", "scope": "inference", "models": [], "queue_priority": 0,
       "limits": {}, "created_s": 1e9, "expires_s": None, "revoked_s": None}  # fmt: skip
SECRET = "ctx-of-the-operator"


@pytest.fixture(autouse=True)
def no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CORTEX_API_KEY", "CORTEX_API_KEY_FILE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def call(*argv: str, **env: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, argv, env=env)
    return result.exit_code, result.output


def test_a_key_is_made_as_the_options_say() -> None:
    with desk(POST_admin_v1_keys={"key": KEY, "secret": "ctx-new"}) as here:
        argv = ("keys", "create", "a", "--scope", "admin", "--model", "x", "--model", "y*", "--days", "1")
        argv += ("--requests-per-min", "60", "--tokens-per-day", "5000", "--concurrent-requests", "2")
        argv += ("--queue-priority", "3")
        code, out = call(*argv, CORTEX_URL=here.url)
        assert (code, "ctx-new" in out) == (0, True)
        sent = here.seen[-1][1]
    assert isinstance(sent, dict)
    assert (sent["scope"], sent["models"], sent["expires_in_s"]) == ("admin", ["x", "y*"], 86400)
    assert sent["limits"] == {"requests_per_min": 60, "tokens_per_day": 5000, "concurrent_requests": 2}
    assert sent["queue_priority"] == 3


def test_how_limits_stand_is_asked_of_a_key_by_its_name() -> None:
    with desk(GET_admin_v1_keys={"keys": [KEY]}) as here:
        here.answers["GET /admin/v1/keys/key_1/limits"] = [(200, {"id": "key_1", "name": "a", "limits": []})]
        assert call("keys", "limits", "a", CORTEX_URL=here.url)[0] == 0


@pytest.mark.parametrize("command", ["revoke", "rotate"])
def test_what_cannot_be_done_is_told_and_fails(command: str) -> None:
    with desk(GET_admin_v1_keys={"keys": []}) as here:
        code, out = call("keys", command, "nobody", "--url", here.url)
    assert (code, "no key has the name or id 'nobody'" in out) == (1, True)


def test_a_command_shows_the_key_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv("CORTEX_API_KEY_FILE", "elsewhere")  # so that what the command sets is taken back
    with desk(GET_admin_v1_keys={"keys": []}) as here:
        assert call("--key-file", str(file), "keys", "list", "--url", here.url)[0] == 0
        assert here.credentials == [f"Bearer {SECRET}"]


@pytest.mark.parametrize("content", [None, "", "two words", "a\nb"])
def test_a_file_that_is_no_key_is_said_to_be_none_without_its_content(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    code, out = call("keys", "list", CORTEX_API_KEY_FILE=str(file))
    assert (code, str(file) in out) == (1, True)
    assert not content or content not in out
