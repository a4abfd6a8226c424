"""Of several ways to the same devices the first that finds any is asked."""

from cortex.neuron.discovery.interface import FoundDevice, Reading, Scan
from cortex.neuron.probe_choice import FirstThatFinds


class Way:
    """A probe that finds what a test says."""

    def __init__(self, scan: Scan, used_mb: int = 0) -> None:
        self.found = scan
        self.used_mb = used_mb
        self.scans = 0

    def scan(self) -> Scan:
        self.scans += 1
        return self.found

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        return tuple(Reading(vram_used_mb=self.used_mb) for _ in self.found.devices)


FOUND = Scan(devices=(FoundDevice(name="gpu", kind="cuda", vram_total_mb=1),))
NOBODY: frozenset[int] = frozenset()


def test_the_first_that_finds_devices_is_asked_and_no_other() -> None:
    library, program = Way(FOUND, 1), Way(FOUND, 2)
    both = FirstThatFinds(library, program)
    assert both.scan() == FOUND
    assert [reading.vram_used_mb for reading in both.read(NOBODY)] == [1]
    assert program.scans == 0


def test_the_next_one_helps_when_the_first_finds_nothing() -> None:
    both = FirstThatFinds(Way(Scan(trouble="version mismatch")), Way(FOUND, 2))
    assert both.scan() == FOUND
    assert [reading.vram_used_mb for reading in both.read(NOBODY)] == [2]


def test_it_goes_back_to_the_first_when_that_works_again() -> None:
    library = Way(Scan(trouble="version mismatch"), 1)
    both = FirstThatFinds(library, Way(FOUND, 2))
    both.scan()
    library.found = FOUND
    both.scan()
    assert [reading.vram_used_mb for reading in both.read(NOBODY)] == [1]


def test_where_none_finds_anything_the_first_trouble_is_told_and_nothing_read() -> None:
    both = FirstThatFinds(Way(Scan()), Way(Scan(trouble="the driver is not loaded")))
    assert both.scan() == Scan(trouble="the driver is not loaded")
    assert both.read(NOBODY) == ()
    assert FirstThatFinds(Way(Scan()), Way(Scan())).scan() == Scan()
