"""Real engines that make room for each other: all of it or nothing, in order, and no answer is cut for it."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.neuron.neuron_process import (
    NeuronProcess,
    chat,
    engines_ended,
    is_busy,
    is_running,
    neuron,
    wait_until,
)
from tests.integration.neuron.test_lease import MODEL, Gateway

ENDING = "keep_engines = false\ndrain_timeout_s = 60\n"


@contextmanager
def node_with(folder: Path, model: Path, head: str = "", **more: object) -> Iterator[tuple[NeuronProcess, int, str]]:
    """Run a neuron with one model that is nobody's guest any more; yield what most of the memory is, and its URL."""
    with neuron(folder, head=ENDING + head) as node:
        most_mb = node.get("/health")[1]["devices"][0]["vram_free_mb"] * 6 // 10
        url = node.loaded("first", model, vram_mb=most_mb, **more)["url"]
        wait_until(lambda: node.report("first")["protected_s"] == 0)
        yield node, most_mb, url


def victims(node: NeuronProcess, *model_ids: str) -> list[dict[str, object]]:
    return [{"model_id": key, "generation": node.report(key)["generation"]} for key in model_ids]


def error_of(answer: tuple[int, Any]) -> dict[str, Any]:
    status, body = answer
    assert status == 409, body
    return dict(body["error"])


def test_a_model_goes_for_another_and_its_process_is_gone_before_the_other_begins(tmp_path: Path, demo: Path) -> None:
    with node_with(tmp_path, demo) as (node, most_mb, _):
        (pid,) = node.engine_pids()
        refusal = error_of(node.load("second", demo, vram_mb=most_mb))
        assert refusal["code"] == "no_room"
        assert refusal["details"]["devices"][0]["evictable_mb"] == most_mb
        status, answer = node.load("second", demo, vram_mb=most_mb, evict=victims(node, "first"))
        assert (status, answer["status"], answer["generation"]) == (200, "loading", 2)
        wait_until(lambda: any(other not in (0, pid) for other in node.engine_pids()))
        assert not is_running(pid)
        node.until("second", "loaded")
        assert chat(node.endpoint("second")["url"])
        assert node.report("first")["status"] == "unloaded"


def test_a_busy_model_stays_until_a_load_has_waited_long_enough_and_its_answer_is_whole(
    tmp_path: Path, slow: Path, demo: Path
) -> None:
    with (
        node_with(tmp_path, slow, "max_wait_s = 0.2\n", parallel=1, context=1024) as (node, most_mb, url),
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(chat, url, max_tokens=60)
        wait_until(lambda: is_busy(url))
        evict = victims(node, "first")
        refusal = error_of(node.load("second", demo, vram_mb=most_mb, evict=evict))
        assert (refusal["code"], refusal["details"]["reason"]) == ("busy", "victim_busy")
        snapshot = refusal["details"]["snapshot"]
        assert [(report["id"], report["status"]) for report in snapshot["models"]] == [("first", "loaded")]
        assert snapshot["health"]["devices"]
        wait_until(lambda: node.load("second", demo, vram_mb=most_mb, evict=evict)[0] == 200)
        assert node.report("second")["status"] == "loading"
        if not answer.done():
            assert node.report("first")["status"] in ("draining", "unloading", "unloaded")
        assert answer.result()
        node.until("second", "loaded")
        assert node.report("first")["status"] == "unloaded"


def test_a_model_that_gateways_hold_goes_when_they_have_let_go_of_it_and_not_before(tmp_path: Path, demo: Path) -> None:
    head = ENDING + "evict_grace_s = 2\nlease_ttl_s = 3600\n"
    with neuron(tmp_path, head=head) as node, ThreadPoolExecutor(1) as pool:
        most_mb = node.get("/health")[1]["devices"][0]["vram_free_mb"] * 6 // 10
        node.loaded(MODEL, demo, vram_mb=most_mb)
        wait_until(lambda: node.report(MODEL)["protected_s"] == 0)
        wish = {"vram_mb": most_mb, "evict": victims(node, MODEL)}
        gateway = Gateway(node, "one")
        gateway.hold()
        gateway.post(in_flight=1)
        assert error_of(node.load("second", demo, **wish))["details"]["reason"] == "victim_busy"
        gateway.post()
        deaf = pool.submit(node.load, "second", demo, **wish)
        node.until(MODEL, "draining")
        assert error_of(deaf.result())["details"]["reason"] == "victims_stayed"
        node.until(MODEL, "loaded")
        loading = pool.submit(node.load, "second", demo, **wish)
        node.until(MODEL, "draining")
        gateway.post()  # brings the news of the drain
        gateway.post()  # and this one says so
        assert loading.result()[0] == 200
        node.until("second", "loaded")


def test_a_model_that_was_loaded_just_now_is_held_as_long_as_it_was_asked_for(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node:
        most_mb = node.get("/health")[1]["devices"][0]["vram_free_mb"] * 6 // 10
        node.loaded("first", demo, vram_mb=most_mb, min_residency_s=600)
        refusal = error_of(node.load("second", demo, vram_mb=most_mb, evict=victims(node, "first")))
        assert (refusal["code"], refusal["details"]["reason"]) == ("held", "victim_protected")
        assert 500 < refusal["details"]["retry_in_s"] <= 600
        assert 500 < node.report("first")["protected_s"] <= 600


def test_of_two_loads_that_race_for_one_victim_one_gets_its_room(tmp_path: Path, demo: Path) -> None:
    with node_with(tmp_path, demo) as (node, most_mb, _), ThreadPoolExecutor(2) as pool:
        evict = victims(node, "first")
        loads = [pool.submit(node.load, key, demo, vram_mb=most_mb, evict=evict) for key in ("second", "third")]
        answers = sorted((load.result() for load in loads), key=lambda answer: answer[0])
        assert [status for status, _ in answers] == [200, 409]
        assert answers[1][1]["error"]["code"] in ("no_room", "busy", "stale")
        winner = next(key for key in ("second", "third") if node.report(key))
        node.until(winner, "loaded")
        assert len(node.engine_pids()) == 1


def test_a_plan_by_an_old_picture_is_stale_and_changes_nothing(tmp_path: Path, demo: Path) -> None:
    with node_with(tmp_path, demo) as (node, most_mb, _):
        wrong = [{"model_id": "first", "generation": 99}]
        assert error_of(node.load("second", demo, vram_mb=most_mb, evict=wrong))["code"] == "stale"
        refusal = error_of(node.load("second", demo, vram_mb=most_mb, evict=victims(node, "first"), basis_event=1))
        assert (refusal["code"], refusal["details"]["reason"]) == ("stale", "basis")
        fresh = refusal["details"]["snapshot"]["event"]
        evict = victims(node, "first")
        assert node.load("second", demo, vram_mb=most_mb, evict=evict, basis_event=fresh)[0] == 200
        node.until("second", "loaded")


def test_a_pin_outlives_a_neuron_that_is_killed_and_keeps_its_model(tmp_path: Path, demo: Path) -> None:
    with engines_ended(tmp_path):
        with neuron(tmp_path) as first:
            most_mb = first.get("/health")[1]["devices"][0]["vram_free_mb"] * 6 // 10
            first.loaded("demo", demo, vram_mb=most_mb)
            assert first.get("/models/pin", {"model_id": "demo", "pinned": True}) == (200, {"pinned": True})
            first.stop(signal.SIGKILL)
        with neuron(tmp_path) as second:
            second.until("demo", "loaded")
            assert second.report("demo")["pinned"]
            refusal = error_of(second.load("other", demo, vram_mb=most_mb, evict=victims(second, "demo")))
            assert (refusal["code"], refusal["details"]["reason"]) == ("stale", "victim_pinned")
            (device,) = error_of(second.load("other", demo, vram_mb=most_mb))["details"]["devices"]
            assert device["evictable_mb"] == 0


def test_a_neuron_that_is_killed_in_the_middle_leaves_what_runs_and_nothing_else(
    tmp_path: Path, slow: Path, demo: Path
) -> None:
    with engines_ended(tmp_path):
        with neuron(tmp_path, head="max_wait_s = 0\n") as first, ThreadPoolExecutor(1) as pool:
            most_mb = first.get("/health")[1]["devices"][0]["vram_free_mb"] * 6 // 10
            url = first.loaded("first", slow, vram_mb=most_mb, parallel=1, context=1024)["url"]
            wait_until(lambda: first.report("first")["protected_s"] == 0)
            answer = pool.submit(chat, url, max_tokens=60)
            wait_until(lambda: is_busy(url))
            evict = victims(first, "first")
            assert first.load("second", demo, vram_mb=most_mb, evict=evict)[0] == 200, "it is due at once"
            first.until("first", "draining")
            first.stop(signal.SIGKILL)
            assert answer.result(), "nothing was cut"
        with neuron(tmp_path) as second:
            assert second.until("first", "loaded")["generation"] == evict[0]["generation"]
            assert second.report("second") == {}
            (pid,) = second.engine_pids()
            os.kill(pid, 0)
