"""Whose requests caused what."""

from cortex.fleet.decision import DecisionLog
from cortex.fleet.swap_tally import MAX_CALLERS, OTHERS, SwapTally


class Books:
    def __init__(self) -> None:
        self.log = DecisionLog()
        self.tally = SwapTally()
        self.log.watch(self.tally.count)

    def note(self, kind: str, caller: str = "", model: str = "m", node: str = "n", **details: object) -> None:
        self.log.note(kind, "r", now_s=0.0, model=model, node=node, caller=caller, **details)  # type: ignore[arg-type]

    def of(self, caller: str) -> dict[str, object]:
        (entry,) = (entry for entry in self.tally.callers() if entry.caller == caller)
        return {name: getattr(entry, name) for name in entry.__struct_fields__ if name != "caller"}


def test_a_load_is_on_the_account_of_whoever_it_was_placed_for() -> None:
    books = Books()
    books.note("placement", "agent")
    books.note("eviction", "agent", model="old")
    books.note("load", took_s=12.5)
    books.note("grant-cold", "agent")
    books.note("grant-cold", "joiner")
    assert books.of("agent") == {"loads": 1, "failures": 0, "evictions": 1, "loading_s": 12.5, "cold_starts": 1}
    assert books.of("joiner") == {"loads": 0, "failures": 0, "evictions": 0, "loading_s": 0.0, "cold_starts": 1}


def test_failures_count_and_what_was_put_off_does_not() -> None:
    books = Books()
    for kind in ("failure", "deferral", "load"):
        books.note("placement", "agent")
        books.note(kind)
    assert books.of("agent") == {"loads": 1, "failures": 1, "evictions": 0, "loading_s": 0.0, "cold_starts": 0}


def test_what_nobody_asked_for_is_on_nobodys_account() -> None:
    books = Books()
    books.note("load", took_s=None)
    assert books.of("")["loads"] == 1


def test_the_dearest_come_first() -> None:
    books = Books()
    for caller, took_s in (("cheap", 1.0), ("dear", 30.0)):
        books.note("placement", caller)
        books.note("load", took_s=took_s)
    assert [entry.caller for entry in books.tally.callers()] == ["dear", "cheap"]


def test_made_up_callers_do_not_pile_up() -> None:
    books = Books()
    for number in range(MAX_CALLERS + 50):
        books.note("eviction", f"c{number}")
    assert len(books.tally.callers()) == MAX_CALLERS + 1
    assert books.of(OTHERS)["evictions"] == 50
