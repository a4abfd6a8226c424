"""What a case is given and what it is asked."""

from dataclasses import dataclass
from typing import Protocol

from bench.book import Book
from bench.load import Load
from bench.peer.interface import Running
from bench.upstream import Upstream


@dataclass(frozen=True)
class Bench:
    """The tools of a run."""

    load: Load
    upstream: Upstream
    book: Book
    is_quick: bool

    def either(self, quick: float, full: float) -> float:
        return quick if self.is_quick else full


class Case(Protocol):
    """One thing that is measured."""

    name: str
    about: str
    rounds: int
    """How often each gateway is measured in a full run, all of them in turn; a quick run does it once."""

    def measure(self, bench: Bench, gateway: Running) -> None:
        """Measure once, into the book."""
        ...
