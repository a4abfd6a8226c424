"""Which tests ``make test`` keeps together on one worker, so that what is dear to start is started once.

The tests of a file share fleets; those of some folders share servers; a simulation shares nothing with anybody, takes
long, and is run wherever there is room, one by one. Ask for another way by ``--dist``.
"""

from typing import Any

import pytest

ALONE = "tests/simulation/"
TOGETHER = ("tests/integration/client/", "tests/integration/store/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return who hands out the tests where files are to be kept together."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Distribution(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Distribution(config, log)


def group_of(nodeid: str) -> str:
    """Return what the tests have in common that are run by the same worker."""
    if nodeid.startswith(ALONE):
        return nodeid
    return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.split("::", 1)[0])
