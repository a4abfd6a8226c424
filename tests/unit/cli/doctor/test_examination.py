"""Checks are made all at once; a late, forbidden or defect one is a finding, and keeps no other from being heard."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from cortex.cli.doctor.examination import Check, Fact, examine, in_thread, selected
from cortex.cli.doctor.finding import Finding, Skip, ok, warn
from cortex.contract.error import ConfigError


async def well() -> Finding:
    return ok("well")


def checks(*ids: str) -> list[Check]:
    return [Check(id_, well) for id_ in ids]


def examined(*made: Check, deadline_s: float = 30.0) -> list[tuple[str, str, str]]:
    return [(each.id, each.result, each.found) for each in asyncio.run(examine(made, deadline_s))]


def test_findings_come_in_the_order_of_their_checks_with_their_ids() -> None:
    async def two() -> list[Finding]:
        return [warn("odd", "why", "do", "one"), ok("fine", "other")]

    assert examined(Check("b.two", two), *checks("a.one")) == [
        ("b.two", "warn", "odd"),
        ("b.two", "ok", "fine"),
        ("a.one", "ok", "well"),
    ]


def test_a_check_that_finds_nothing_to_look_at_is_told_too() -> None:
    async def none() -> list[Finding]:
        return []

    assert examined(Check("a.none", none)) == [("a.none", "skipped", "there is nothing of it to look at")]


def test_all_checks_run_at_once() -> None:
    async def run() -> list[Finding]:
        both = asyncio.Barrier(2)

        async def meet() -> Finding:
            await both.wait()  # alone it would never come back
            return ok("met")

        return await examine([Check("a.one", meet), Check("a.two", meet)], 30.0)

    assert [each.found for each in asyncio.run(run())] == ["met", "met"]


def test_a_check_that_never_ends_is_told_at_its_deadline_and_the_others_are_heard() -> None:
    async def never() -> Finding:
        await asyncio.Event().wait()
        return ok("never")

    late, fine = examined(Check("a.late", never), *checks("a.fine"), deadline_s=0.0)
    assert late == ("a.late", "fail", "no answer within 0 s")
    assert fine == ("a.fine", "ok", "well")


def test_a_thread_that_hangs_keeps_nobody_waiting() -> None:
    hang = threading.Event()

    async def hanging() -> Finding:
        await in_thread(hang.wait)
        return ok("never")

    try:
        assert examined(Check("a.hung", hanging), deadline_s=0.0)[0][1] == "fail"
    finally:
        hang.set()


@pytest.mark.parametrize(
    ("error", "result", "words"),
    [
        (Skip("not installed"), "skipped", "not installed"),
        (PermissionError(13, "no", "/etc/x"), "skipped", "/etc/x cannot be read by this user"),
        (ValueError("password=s3cret"), "fail", "the check itself has failed: ValueError in test_examination.py:"),
    ],
    ids=["skip", "rights", "defect"],
)
def test_what_a_check_raises_is_a_finding_without_the_words_of_the_defect(
    error: Exception, result: str, words: str
) -> None:
    async def raising() -> Finding:
        raise error

    ((_, got, said),) = examined(Check("a.b", raising))
    assert got == result
    assert said.startswith(words)
    assert "s3cret" not in said


def test_what_is_raised_in_a_thread_is_raised_to_who_waits() -> None:
    def work() -> None:
        raise Skip("from the thread")

    async def run() -> None:
        await in_thread(work)

    with pytest.raises(Skip, match="from the thread"):
        asyncio.run(run())


def test_a_fact_is_asked_for_once_however_many_want_it() -> None:
    asked: list[int] = []

    async def ask() -> int:
        asked.append(1)
        return len(asked)

    async def run() -> list[int]:
        fact = Fact(ask)
        return await asyncio.gather(fact(), fact(), fact())

    assert asyncio.run(run()) == [1, 1, 1]


def test_why_a_fact_cannot_be_known_is_told_to_each() -> None:
    asked: list[int] = []

    async def ask() -> int:
        asked.append(1)
        raise Skip("gone")

    async def run() -> list[BaseException | int]:
        fact = Fact(ask)
        return await asyncio.gather(fact(), fact(), return_exceptions=True)

    assert [type(each) for each in asyncio.run(run())] == [Skip, Skip]
    assert asked == [1]


@pytest.mark.parametrize(
    ("only", "skip", "expected"),
    [
        ([], [], ["a.one", "a.two", "b.one"]),
        (["a"], [], ["a.one", "a.two"]),
        (["a.two", "b"], [], ["a.two", "b.one"]),
        ([], ["a.one"], ["a.two", "b.one"]),
        (["a"], ["a.one"], ["a.two"]),
    ],
    ids=["all", "subject", "ids", "but", "both"],
)
def test_checks_are_chosen_by_id_and_by_subject(only: list[str], skip: list[str], expected: list[str]) -> None:
    assert [check.id for check in selected(checks("a.one", "a.two", "b.one"), only, skip)] == expected


@pytest.mark.parametrize(
    "wish", [lambda: selected(checks("port.api"), ["port.apj"], []), lambda: selected([], [], ["x"])]
)
def test_a_word_that_is_no_check_is_refused(wish: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match="is no check"):
        wish()
