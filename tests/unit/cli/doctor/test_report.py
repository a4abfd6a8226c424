"""People see findings by subject with what to do, scripts see all members; nothing unprintable comes out."""

import io

from rich.console import Console

from cortex import __version__
from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn
from cortex.cli.doctor.report import as_json, lines, show


def with_id(id_: str, finding: Finding) -> Finding:
    return Finding(
        id=id_,
        about=finding.about,
        result=finding.result,
        found=finding.found,
        means=finding.means,
        do=finding.do,
    )


FOUND = [
    with_id("config.file", ok("/etc/cortex/cortex.toml")),
    with_id("port.api", fail("held by \x1b[2Jevil", "it cannot start", "stop it\nor move", "listen")),
    with_id("port.metrics", warn("odd", "why", "do")),
    with_id("host.clock", skipped("not told")),
]


def test_the_report_is_grouped_and_says_what_to_do() -> None:
    assert list(lines(FOUND)) == [
        "config",
        "  ok      config.file                 /etc/cortex/cortex.toml",
        "port",
        "  fail    port.api                    listen: held by ?[2Jevil",
        "                                      it cannot start",
        "                                      → stop it",
        "                                      → or move",
        "  warn    port.metrics                odd",
        "                                      why",
        "                                      → do",
        "host",
        "  skipped host.clock                  not told",
        "1 fail, 1 warn, 1 ok, 1 skipped",
    ]


def test_a_terminal_gets_the_same_in_its_width() -> None:
    page = io.StringIO()
    show(FOUND, Console(file=page, width=60, force_terminal=True, color_system=None))
    told = page.getvalue()
    assert "port.api" in told
    assert "→ stop it" in told
    assert "\x1b[2J" not in told
    assert told.rstrip().endswith("1 fail, 1 warn, 1 ok, 1 skipped")


def test_scripts_get_every_member_the_counts_and_the_exit_code() -> None:
    told = as_json("cortex", FOUND)
    assert (told["daemon"], told["version"], told["exit"]) == ("cortex", __version__, 2)
    assert told["counts"] == {"ok": 1, "skipped": 1, "warn": 1, "fail": 1}
    assert told["findings"][1] == {
        "id": "port.api",
        "about": "listen",
        "result": "fail",
        "found": "held by \x1b[2Jevil",
        "means": "it cannot start",
        "do": "stop it\nor move",
    }
