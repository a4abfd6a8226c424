"""What may stand in ``[store] url``."""

from pathlib import Path

import pytest

from cortex.gateway.store_url import anchored, parse_store_url


def test_a_file_is_named_by_its_path() -> None:
    assert parse_store_url("sqlite:////var/lib/cortex/store.db").path == "/var/lib/cortex/store.db"
    assert parse_store_url("sqlite:///store.db").path == "store.db"


def test_a_relative_file_starts_at_the_configuration() -> None:
    base = Path("/etc/cortex")
    assert anchored("sqlite:///store.db", base) == "sqlite:////etc/cortex/store.db"
    assert anchored("sqlite:////var/store.db", base) == "sqlite:////var/store.db"
    assert anchored("postgresql://h/d", base) == "postgresql://h/d"


def test_a_password_is_never_shown() -> None:
    url = parse_store_url("postgres://cortex:s3cret@db.example.internal:5433/cortex?sslmode=require")
    assert url.shown == "postgresql://db.example.internal:5433/cortex"
    assert url.text == "postgresql://cortex:s3cret@db.example.internal:5433/cortex?sslmode=require"


def test_a_socket_is_named_behind_the_question_mark() -> None:
    assert parse_store_url("postgresql:///cortex?host=/run/postgresql").shown == "postgresql:///run/postgresql/cortex"


@pytest.mark.parametrize(
    "text",
    ["", "store.db", "sqlite://", "sqlite:///", "sqlite://host/x", "mysql://h/d", "postgresql://h", "postgresql:///d"],
)
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected sqlite:///FILE or postgresql://"):
        parse_store_url(text)


@pytest.mark.parametrize("text", ["postgresql://u:s3cret@h:port/d", "postgresql://u:s3cret@h/d?sslmod=1", "x:s3cret"])
def test_a_refusal_does_not_repeat_a_password(text: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_store_url(text)
    assert "s3cret" not in str(caught.value)
