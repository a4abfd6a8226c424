"""Harnesses of other distributions: found by their entry point, never able to take the neuron down."""

import asyncio
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant
from tests.unit.neuron.harness.builder import CPU, a_launch, a_record, a_request, a_site

from cortex.contract.error import ConfigError, CortexError, MalformedRequest
from cortex.neuron.harness.interface import Harness, ListedModel
from cortex.neuron.harness.llamacpp import LlamaCppHarness
from cortex.neuron.harness.plug_in import offered_kinds
from cortex.neuron.harness.registry import BUILT_IN, build
from cortex.neuron.settings import HarnessEntry

GOOD = """
from cortex.contract.error import ConfigError, MalformedRequest
from cortex.contract.node import HarnessDetail
from cortex.neuron.harness.interface import Capabilities, ListedModel, Prepared

class Abacus:
    capabilities = Capabilities(process_model="foreign", is_fenced=False, reports_in_flight=True)
    device_kinds = frozenset({"cpu"})

    def __init__(self, entry, site):
        if entry.endpoint is None:
            raise ConfigError(f"harnesses: '{entry.name}' needs `endpoint`")
        self.name, self.kind, self.restarts = entry.name, entry.kind, 0

    async def probe(self):
        return HarnessDetail(name=self.name, kind=self.kind, usable=True, version="1")

    async def prepare(self, request, devices):
        if request.source is None:
            raise MalformedRequest("source: expected beads")
        return Prepared(need_mb=7, is_estimate=True, parallel=len(devices))

    async def start(self, launch):
        return launch.nonce

    async def recover(self, record, log):
        return record.nonce

    async def listed(self):
        return (ListedModel(id="m", url="http://h", engine_model="m"),)
"""
BROKEN = (
    GOOD
    + """
    async def probe(self):
        raise RuntimeError("no beads")

    async def recover(self, record, log):
        raise RuntimeError("no beads")

    async def listed(self):
        raise RuntimeError("no beads")
"""
)
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return what puts a distribution on the path, as an installer would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(code: str, *, kind: str = "abacus", package: str = "abacus_harness", target: str = "Abacus") -> None:
        plant(
            tmp_path,
            {
                f"{package}.py": textwrap.dedent(code),
                f"{package}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
                f"{package}-1.0.dist-info/entry_points.txt": f"[cortex.harnesses]\n{kind} = {package}:{target}\n",
            },
        )
        monkeypatch.delitem(sys.modules, package, raising=False)

    return put


def the_harness(**entry: object) -> Harness:
    settings = HarnessEntry(**{"name": "beads", "kind": "abacus", "endpoint": "http://h"} | entry)
    (harness,) = build((settings,), lambda _: a_site())
    return harness


def why_not(harness: Harness) -> str:
    detail = asyncio.run(harness.probe())
    assert (detail.name, detail.kind, detail.usable) == ("beads", "abacus", False)
    return detail.why_not or ""


def test_a_plug_in_is_used_as_if_it_were_built_in(install: Install) -> None:
    install(GOOD)

    async def run() -> None:
        harness = the_harness()
        detail = await harness.probe()
        assert (detail.usable, detail.version) == (True, "1")
        assert (harness.name, harness.kind, harness.device_kinds) == ("beads", "abacus", frozenset({"cpu"}))
        assert harness.capabilities.reports_in_flight
        assert (await harness.prepare(a_request(source="x"), (CPU, CPU))).parallel == 2
        with pytest.raises(MalformedRequest, match="expected beads"):
            await harness.prepare(a_request(), ())
        assert await harness.start(a_launch(nonce="n")) == "n"
        assert await harness.recover(a_record(nonce="r"), Path("log")) == "r"
        assert await harness.listed() == (ListedModel(id="m", url="http://h", engine_model="m"),)
        assert not hasattr(harness, "restart")

    asyncio.run(run())


def test_one_that_can_be_restarted_still_can(install: Install) -> None:
    install(GOOD + "\n    async def restart(self):\n        raise MalformedRequest('restarted')\n")
    with pytest.raises(MalformedRequest, match="restarted"):
        asyncio.run(the_harness().restart())  # type: ignore[attr-defined]


def test_nothing_of_a_plug_in_is_imported_before_an_entry_asks_for_it(install: Install) -> None:
    install(GOOD)
    build((HarnessEntry(name="llamacpp"),), lambda _: a_site())
    assert "abacus" in offered_kinds()
    assert "abacus_harness" not in sys.modules


def test_a_built_in_kind_wins(install: Install) -> None:
    install("raise RuntimeError('imported')", kind="llamacpp")
    (harness,) = build((HarnessEntry(name="llamacpp"),), lambda _: a_site())
    assert isinstance(harness, LlamaCppHarness)


def test_an_entry_that_a_plug_in_cannot_use_is_refused(install: Install) -> None:
    install(GOOD)
    with pytest.raises(ConfigError, match="'beads' needs `endpoint`"):
        the_harness(endpoint=None)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise ImportError('no libabacus')", "plug-in abacus_harness:Abacus fails: ImportError: no libabacus"),
        ("raise SystemExit", "plug-in abacus_harness:Abacus fails: SystemExit"),
        ("x = 1", "module 'abacus_harness' has no attribute 'Abacus'"),
        ("def Abacus():\n    pass\n", "fails: TypeError: Abacus() takes 0 positional arguments"),
        ("def Abacus(entry, site):\n    raise KeyError('beads')\n", "fails: KeyError: 'beads'"),
        (
            "class Abacus:\n    name = kind = ''\n    def __init__(self, *_):\n        pass\n",
            "is no harness: it lacks capabilities, device_kinds, probe, prepare, start, recover, listed",
        ),
        (BROKEN, "its probe fails: RuntimeError: no beads"),
        (f"{GOOD}\n    async def probe(self):\n        pass\n", "its probe fails: TypeError: "),
        (f"{GOOD}\n    device_kinds = None\n", "Abacus fails: TypeError: 'NoneType' object is not iterable"),
        (f"{GOOD}\n    capabilities = None\n", "'NoneType' object has no attribute 'process_model'"),
        (
            f"{GOOD}\n    @property\n    def device_kinds(self):\n        raise KeyError('gpu')\n",
            "fails: KeyError: 'gpu'",
        ),
    ],
    ids=[
        "import",
        "exit",
        "no such name",
        "no factory",
        "factory",
        "no harness",
        "probe",
        "no answer",
        "no kinds",
        "no capabilities",
        "property",
    ],
)
def test_a_broken_plug_in_makes_its_entry_unusable_and_says_why(install: Install, code: str, why: str) -> None:
    install(code)
    assert why in why_not(the_harness())


def test_a_plug_in_that_is_probed_for_ever_makes_its_entry_unusable(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cortex.neuron.harness.plug_in.PROBE_DEADLINE_S", 0.01)
    install(f"import asyncio\n{GOOD}\n    async def probe(self):\n        await asyncio.Event().wait()\n")
    assert why_not(the_harness()) == "its probe gives no answer within 0.01 s"


def test_an_entry_keeps_its_name_whatever_its_plug_in_calls_it(install: Install) -> None:
    install(GOOD.replace("name=self.name, kind=self.kind", "name='other', kind='z'"))
    detail = asyncio.run(the_harness().probe())
    assert (detail.name, detail.kind, detail.usable) == ("beads", "abacus", True)


@pytest.mark.parametrize("need_mb", ["-7", "None", "1.5"])
def test_a_load_whose_need_a_plug_in_cannot_tell_is_refused(install: Install, need_mb: str) -> None:
    install(GOOD.replace("need_mb=7", f"need_mb={need_mb}"))
    with pytest.raises(CortexError, match="harness 'beads': its plug-in does not say what a load needs"):
        asyncio.run(the_harness().prepare(a_request(source="s"), (CPU,)))


def test_a_list_of_something_else_is_no_answer(install: Install) -> None:
    install(GOOD.replace('(ListedModel(id="m", url="http://h", engine_model="m"),)', "(5, None)"))
    assert asyncio.run(the_harness().listed()) is None


def test_of_two_packages_with_one_kind_neither_is_chosen(install: Install) -> None:
    install(GOOD)
    install(GOOD, package="other_harness")
    why = why_not(the_harness())
    assert why == "several packages offer harness kind 'abacus' (abacus_harness, other_harness): remove all but one"


def test_a_plug_in_that_fails_when_asked_gives_no_answer(install: Install) -> None:
    install(BROKEN)

    async def run() -> None:
        harness = the_harness()
        assert await harness.recover(a_record(), Path("log")) is None
        assert await harness.listed() is None

    asyncio.run(run())


def test_an_unknown_kind_is_told_of_those_that_plug_ins_offer(install: Install) -> None:
    install(GOOD)
    detail = asyncio.run(the_harness(kind="sums").probe())
    known = ", ".join(sorted({"abacus", *BUILT_IN}))
    assert detail.why_not == f"this neuron has no harness of kind 'sums'; it has {known}"
