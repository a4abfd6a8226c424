"""The exit code of a doctor is that of the worst finding."""

import pytest

from cortex.cli.doctor.finding import Finding, exit_code, fail, ok, skipped, warn

BAD = (warn("odd", "why", "do"), fail("broken", "why", "do"))


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([ok("well"), skipped("not looked at")], 0),
        ([ok("well"), BAD[0]], 1),
        ([BAD[1], BAD[0], ok("well")], 2),
    ],
    ids=["none", "well", "odd", "broken"],
)
def test_the_worst_finding_decides(findings: list[Finding], code: int) -> None:
    assert exit_code(findings) == code
