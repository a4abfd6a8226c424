"""What both daemons look at is gathered and judged: files with secrets, certificates, the firewall."""

import asyncio
import os
from pathlib import Path

import pytest
from tests.unit.cli.doctor.test_program import programs

from cortex.cli.doctor.examination import Fact, examine
from cortex.cli.doctor.finding import Skip
from cortex.cli.doctor.host import Identity
from cortex.cli.doctor.look import firewall, secret_files, tls_checks
from cortex.cli.doctor.program import Programs
from cortex.cli.doctor.tls import Certificate
from cortex.kit.clock import SystemClock

ME = Identity(os.geteuid(), frozenset({os.getegid()}), "me", "whoever runs doctor")
ZONES = """cat <<'X'
public (active)
  target: default
  services: ssh
  ports: 8000/tcp
X
"""


def test_secrets_are_looked_at_and_never_told(tmp_path: Path) -> None:
    closed, open_ = tmp_path / "closed", tmp_path / "open"
    for file, mode in ((closed, 0o600), (open_, 0o644)):
        file.write_text("s3cret\n")
        file.chmod(mode)
    found = asyncio.run(secret_files({"a": closed, "b": open_, "c": tmp_path / "none"}, ME, {}))
    assert [(each.about, each.result) for each in found] == [("a", "ok"), ("b", "fail"), ("c", "fail")]
    assert "s3cret" not in str(found)
    assert asyncio.run(secret_files({}, ME, {}))[0].result == "ok"


def test_who_may_read_what_systemd_gives_is_systemds_matter(tmp_path: Path) -> None:
    for name, content in {"cortex.fleet-token": "s3cret\n", "cortex.tls-key": "\n"}.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o644)
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    found = asyncio.run(secret_files({"tls_key": tmp_path / "cortex.tls-key"}, ME, env))
    assert [(each.about, each.result) for each in found] == [("tls_key", "fail"), ("cortex.fleet-token", "ok")]
    assert "is empty" in found[0].found
    gone = {"token_file": Path("/run/credentials/cortex-no-such.service/token")}
    (hidden,) = asyncio.run(secret_files(gone, ME, {}))
    assert (hidden.result, "while that runs" in hidden.found) == ("skipped", True)


def test_a_certificate_is_asked_for_once_and_judged_three_times() -> None:
    asked: list[int] = []

    async def certificate() -> Certificate | None:
        asked.append(1)
        return Certificate(why_not="no PEM")

    found = asyncio.run(examine(tls_checks(Fact(certificate), SystemClock()), 30.0))
    assert [(each.id, each.result) for each in found] == [
        ("tls.pair", "fail"),
        ("tls.expiry", "ok"),
        ("tls.name", "ok"),
    ]
    assert asked == [1]


def test_a_firewall_that_runs_is_asked_for_its_zones(tmp_path: Path) -> None:
    made = programs(tmp_path, **{"firewall-cmd": f'[ "$1" = --state ] && exit 0\n{ZONES}'})
    found = asyncio.run(firewall(made, {"listen": (8000, 8000), "metrics_listen": (9100, 9100)}, {"listen": "cortex"}))
    assert [each.result for each in found] == ["ok", "warn"]


def test_a_firewall_that_is_not_there_or_does_not_run_is_in_nobodys_way(tmp_path: Path) -> None:
    (found,) = asyncio.run(firewall(Programs({"PATH": "/nowhere"}), {"listen": (8000, 8000)}, {}))
    assert (found.result, found.found) == ("ok", "firewalld is not installed")
    stopped = programs(tmp_path, **{"firewall-cmd": "exit 252"})
    (found,) = asyncio.run(firewall(stopped, {"listen": (8000, 8000)}, {}))
    assert (found.result, found.found) == ("ok", "firewalld does not run")


def test_a_firewall_that_does_not_tell_this_user_is_skipped(tmp_path: Path) -> None:
    shy = programs(tmp_path, **{"firewall-cmd": '[ "$1" = --state ] && exit 0; exit 253'})
    with pytest.raises(Skip, match="may not ask firewalld"):
        asyncio.run(firewall(shy, {"listen": (8000, 8000)}, {}))
