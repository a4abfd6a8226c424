"""Keys through the gateway: what is asked, and what is shown where."""

import json

import pytest
from tests.unit.cli.desk import desk

from cortex.cli.client import gateway
from cortex.cli.key import create, revoke, rotate, show_keys, show_limits, wish
from cortex.contract.error import ConfigError

SECRET = "ctx-verysecret"
KEY = {"id": "key_1", "name": "alice", "shown": "ctx-very", "scope": "inference", "models": ["q*"], "queue_priority": 0,
       "limits": {}, "created_s": 1e9, "expires_s": None, "revoked_s": None}  # fmt: skip
MADE = {"key": KEY, "secret": SECRET}


def test_a_wish_says_what_was_said() -> None:
    asked = wish("alice", None, ["q*"], 2)
    assert (asked.name, asked.scope, asked.models, asked.expires_in_s) == ("alice", "inference", ("q*",), 172800)
    assert wish("alice", "admin", [], None).expires_in_s is None


def test_which_names_a_key_may_have_is_said_in_words() -> None:
    with pytest.raises(ConfigError) as caught:
        wish("two words", None, [], None)
    assert caught.value.message.endswith(
        ": a name has up to 64 letters, digits and . _ @ + -, a letter or a digit first"
    )


@pytest.mark.parametrize(
    ("name", "scope", "days"), [("two words", None, None), ("a", "root", None), ("a", None, 0.0)], ids=str
)
def test_a_wish_that_cannot_be_is_refused_before_anybody_is_asked(name: str, scope: str, days: float) -> None:
    with pytest.raises(ConfigError, match="such a key cannot be made"):
        wish(name, scope, [], days)


def test_the_secret_alone_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(POST_admin_v1_keys=MADE) as here:
        create(gateway(here.url, {}), wish("alice", None, ["q*"], None), as_json=False)
        assert here.seen[-1][1]["name"] == "alice"  # type: ignore[index]
    said = capsys.readouterr()
    assert said.out == f"{SECRET}\n"
    assert "key_1 (alice, inference)" in said.err
    assert SECRET not in said.err


def test_scripts_get_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(POST_admin_v1_keys=MADE) as here:
        create(gateway(here.url, {}), wish("alice", None, [], None), as_json=True)
    assert json.loads(capsys.readouterr().out)["secret"] == SECRET


def test_the_list_tells_keys_apart_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(GET_admin_v1_keys={"keys": [KEY]}) as here:
        show_keys(gateway(here.url, {}), as_json=False)
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["ID", "NAME", "SECRET"]
    assert row.split()[:5] == ["key_1", "alice", "ctx-very…", "inference", "q*"]


@pytest.mark.parametrize("named", ["key_1", "alice"])
def test_a_key_goes_by_its_id_or_its_name(named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with desk(GET_admin_v1_keys={"keys": [KEY]}) as here:
        here.answers["POST /admin/v1/keys/key_1/revoke"] = [(200, KEY)]
        here.answers["POST /admin/v1/keys/key_1/rotate"] = [(200, MADE)]
        revoke(gateway(here.url, {}), named, as_json=False)
        rotate(gateway(here.url, {}), named, as_json=False)
    assert capsys.readouterr().out == f"key_1 (alice) is revoked\n{SECRET}\n"


def test_a_name_that_two_have_is_not_guessed_at() -> None:
    with (
        desk(GET_admin_v1_keys={"keys": [KEY, {**KEY, "id": "key_2"}]}) as here,
        pytest.raises(ConfigError, match="one of key_1, key_2"),
    ):
        revoke(gateway(here.url, {}), "alice", as_json=False)


def test_a_name_goes_to_the_key_that_still_holds(capsys: pytest.CaptureFixture[str]) -> None:
    ended = {**KEY, "id": "key_0", "revoked_s": 1.0}
    with desk(GET_admin_v1_keys={"keys": [ended, KEY]}) as here:
        here.answers["POST /admin/v1/keys/key_1/revoke"] = [(200, KEY)]
        revoke(gateway(here.url, {}), "alice", as_json=False)
    assert capsys.readouterr().out == "key_1 (alice) is revoked\n"


def test_limits_are_asked_for_by_their_names_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    asked = wish("alice", None, [], None, {"requests_per_min": 60, "tokens_per_day": None}, 5)
    assert (asked.limits.requests_per_min, asked.limits.tokens_per_day, asked.queue_priority) == (60, None, 5)
    with desk(GET_admin_v1_keys={"keys": [{**KEY, "limits": {"requests_per_min": 60}}]}) as here:
        show_keys(gateway(here.url, {}), as_json=False)
    assert "requests_per_min=60" in capsys.readouterr().out


def test_how_limits_stand_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    use = {"limit": "tokens_per_day", "bound": 100, "used": 40, "held": 7, "resets_in_s": 7384.2}
    places = {"limit": "concurrent_requests", "bound": 4, "used": 0, "held": 1, "resets_in_s": None}
    with desk(GET_admin_v1_keys={"keys": [KEY]}) as here:
        answer = {"id": "key_1", "name": "alice", "limits": [use, places]}
        here.answers["GET /admin/v1/keys/key_1/limits"] = [(200, answer), (200, answer)]
        show_limits(gateway(here.url, {}), "alice", as_json=False)
        rows = capsys.readouterr().out.splitlines()
        show_limits(gateway(here.url, {}), "alice", as_json=True)
    assert rows[1].split() == ["tokens_per_day", "100", "40", "7", "2h", "03m"]
    assert rows[2].split()[:4] == ["concurrent_requests", "4", "0", "1"]
    assert json.loads(capsys.readouterr().out)["limits"][0]["held"] == 7


def test_where_nothing_is_to_be_shown_that_is_said_beside_the_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(GET_admin_v1_keys={"keys": []}) as here:
        show_keys(gateway(here.url, {}), as_json=False)
        said = capsys.readouterr()
        assert (len(said.out.splitlines()), "cortex keys create NAME --admin" in said.err) == (1, True)
    with desk(GET_admin_v1_keys={"keys": [KEY]}) as here:
        here.answers["GET /admin/v1/keys/key_1/limits"] = [(200, {"id": "key_1", "name": "alice", "limits": []})]
        show_limits(gateway(here.url, {}), "alice", as_json=False)
    assert capsys.readouterr().err == "alice has no limits\n"


@pytest.mark.parametrize(
    ("named", "words"),
    [("bob", "no key has the name or id 'bob'"), ("alice", r"'alice' is revoked: .* by its id \(key_1\)")],
)
def test_a_name_that_no_key_goes_by_is_told_apart_from_one_that_is_revoked(named: str, words: str) -> None:
    with (
        desk(GET_admin_v1_keys={"keys": [{**KEY, "revoked_s": 1.0}]}) as here,
        pytest.raises(ConfigError, match=words),
    ):
        show_limits(gateway(here.url, {}), named, as_json=False)


def test_a_revoked_key_is_shown_by_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    with desk(GET_admin_v1_keys={"keys": [{**KEY, "revoked_s": 1.0}]}) as here:
        here.answers["GET /admin/v1/keys/key_1/limits"] = [(200, {"id": "key_1", "name": "alice", "limits": []})]
        show_limits(gateway(here.url, {}), "key_1", as_json=False)
    assert "alice" in capsys.readouterr().err
