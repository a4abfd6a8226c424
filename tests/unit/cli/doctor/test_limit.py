"""What the kernel lets a daemon have is judged by what it needs."""

import pytest

from cortex.cli.doctor.limit import (
    Limit,
    judge_backlog,
    judge_clock,
    judge_files,
    judge_locked,
    judge_loop,
    judge_shared_memory,
    judge_skew,
)


@pytest.mark.parametrize(
    ("limit", "result"),
    [((1024, 65536), "ok"), ((1024, None), "ok"), ((1024, 1024), "warn"), (None, "skipped")],
    ids=["hard", "none", "few", "unknown"],
)
def test_the_hard_limit_of_files_counts(limit: Limit | None, result: str) -> None:
    found = judge_files(limit, 1000, "cortex")
    assert found.result == result
    assert ("systemctl edit cortex" in found.do) == (result == "warn")


@pytest.mark.parametrize(("number", "result"), [(4096, "ok"), (128, "warn"), (None, "skipped")])
def test_a_short_queue_of_connections_is_told(number: int | None, result: str) -> None:
    assert judge_backlog(number).result == result


@pytest.mark.parametrize(
    ("limit", "by", "result"),
    [
        ((8 << 20, 8 << 20), "", "ok"),
        ((8 << 20, 8 << 20), "llamacpp", "warn"),
        ((None, None), "llamacpp", "ok"),
        (None, "", "skipped"),
    ],
)
def test_locked_memory_matters_to_who_locks_it(limit: Limit | None, by: str, result: str) -> None:
    assert judge_locked(limit, by).result == result


@pytest.mark.parametrize(
    ("size", "by", "result"),
    [(64 << 20, "", "ok"), (64 << 20, "vllm", "warn"), (8 << 30, "vllm", "ok"), (None, "vllm", "skipped")],
)
def test_shared_memory_matters_to_engines_of_several_processes(size: int | None, by: str, result: str) -> None:
    assert judge_shared_memory(size, by).result == result


@pytest.mark.parametrize(
    ("name", "installed", "result"),
    [("auto", True, "ok"), ("auto", False, "ok"), ("asyncio", False, "ok"), ("uvloop", False, "fail")],
)
def test_an_event_loop_that_is_not_installed_is_told(name: str, installed: bool, result: str) -> None:
    assert judge_loop(name, is_installed=installed).result == result


@pytest.mark.parametrize(("state", "result"), [(0, "ok"), (5, "warn"), (None, "skipped")])
def test_a_clock_that_nothing_keeps_right_is_told(state: int | None, result: str) -> None:
    assert judge_clock(state).result == result


@pytest.mark.parametrize(
    ("difference_s", "words"), [(1.0, "agree"), (-90.0, "90 s behind"), (90.0, "90 s ahead of"), (5.5, "agree")]
)
def test_clocks_that_differ_are_told_beyond_what_asking_cost(difference_s: float, words: str) -> None:
    found = judge_skew(difference_s, "beast", 1.0)
    assert found.about == "beast"
    assert words in found.found
