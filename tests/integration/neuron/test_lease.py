"""Two gateways that share a real engine by a real neuron: who is waited for, until when, and what each is told."""

import json
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.integration.neuron.neuron_process import NeuronProcess, chat, engines_ended, neuron, wait_until

ENDING = "keep_engines = false\ndrain_timeout_s = 60\n"
QUICK = "keep_engines = false\ndrain_timeout_s = 0.1\n"
"""For gateways that are simply gone when the test ends."""
MODEL = "lab/demo"


class Gateway:
    """One gateway, as far as the neuron can tell."""

    def __init__(self, node: NeuronProcess, name: str) -> None:
        self.node = node
        self.name = name
        self.seq = 0
        self.seen: dict[str, object] = {"start_id": "", "seen_event": 0}
        self.generation = 0
        self.slots = -1

    def hold(self) -> str:
        """Ask where the model is."""
        status, answer = self.node.get(f"/models/{MODEL}/endpoint?gateway={self.name}")
        assert status == 200, answer
        self.generation, self.slots = answer["generation"], answer["slots"]
        return str(answer["url"])

    def post(self, in_flight: int = 0, waiting: int = 0, **more: object) -> dict[str, Any]:
        """Report, and see what is answered."""
        self.seq += 1
        lease = {
            "model_id": MODEL, "generation": self.generation, "in_flight": in_flight, "waiting": waiting,
            "slots": max(0, self.slots),
        }  # fmt: skip
        body = {"gateway_id": self.name, "seq": self.seq, **self.seen, "leases": [lease], **more}
        status, answer = self.node.get("/leases", body)
        assert status == 200, answer
        self.seen = {"start_id": answer["start_id"], "seen_event": answer["event"]}
        self.slots = next((one["slots"] for one in answer.get("slots", ())), self.slots)
        return dict(answer)


def is_draining(node: NeuronProcess, looks: int = 20) -> bool:
    """Look several times, each of which is longer than a drain takes that waits for nobody."""
    return all(node.report(MODEL)["status"] == "draining" for _ in range(looks))


def test_a_drain_waits_until_every_gateway_that_holds_the_model_has_acknowledged(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node:
        node.loaded(MODEL, demo)
        first, second = Gateway(node, "one"), Gateway(node, "two")
        chat(first.hold())
        second.hold()
        first.post()
        assert node.unload(MODEL, wait=False)[0] == 202
        first.post()
        assert is_draining(node)
        assert first.post()["event"] == first.seen["seen_event"]
        assert is_draining(node), "two has not been heard"
        second.post()
        assert is_draining(node), "what two sent it had sent before it could know"
        second.post()
        node.until(MODEL, "unloaded")


def test_a_gateway_that_falls_silent_is_waited_for_as_long_as_its_lease(tmp_path: Path, demo: Path) -> None:
    ttl_s = 3.0
    with neuron(tmp_path, head=f"{ENDING}lease_ttl_s = {ttl_s}\n") as node:
        node.loaded(MODEL, demo)
        begin_s = time.monotonic()
        Gateway(node, "gone").hold()
        assert node.unload(MODEL) == (200, {"status": "unloaded"})
        assert time.monotonic() - begin_s >= ttl_s


def test_a_request_that_only_a_gateway_knows_of_holds_up_a_drain(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node:
        node.loaded(MODEL, demo)
        gateway = Gateway(node, "one")
        gateway.hold()
        gateway.post(in_flight=1)
        node.unload(MODEL, wait=False)
        gateway.post(in_flight=1)
        gateway.post(in_flight=1)
        assert is_draining(node)
        gateway.post(in_flight=0)
        node.until(MODEL, "unloaded")


def test_who_leaves_in_good_order_is_not_waited_for(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node:
        node.loaded(MODEL, demo)
        gateway = Gateway(node, "one")
        gateway.hold()
        gateway.post(leaving=True)
        begin_s = time.monotonic()
        assert node.unload(MODEL) == (200, {"status": "unloaded"})
        assert time.monotonic() - begin_s < 30


def test_slots_go_to_who_waits_once_the_other_has_heard(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=QUICK) as node:
        node.loaded(MODEL, demo, parallel=4)
        first, second = Gateway(node, "one"), Gateway(node, "two")
        for gateway in (first, second):
            gateway.post()
            gateway.hold()
        assert (first.slots, second.slots) == (4, 0)
        first.post(in_flight=1)
        second.post(waiting=2)
        assert second.slots == 0
        first.post(in_flight=1)
        assert first.slots == 2
        first.post(in_flight=1)
        second.post(waiting=2)
        assert second.slots == 2


def test_where_nothing_has_changed_the_answer_is_tiny_and_after_a_gap_it_is_everything(
    tmp_path: Path, demo: Path
) -> None:
    with neuron(tmp_path, head=QUICK) as node:
        node.loaded(MODEL, demo)
        gateway = Gateway(node, "one")
        gateway.hold()
        whole = gateway.post()
        assert whole["snapshot"]
        assert [model["id"] for model in whole["models"]] == [MODEL]
        gateway.post()
        answer = gateway.post()
        assert not {"snapshot", "models", "gone", "harnesses", "slots"} & set(answer)
        assert len(json.dumps(answer, separators=(",", ":"))) < 150 + 200 * len(answer["health"]["devices"])
        gateway.seen["seen_event"] = 0
        assert gateway.post()["snapshot"]
        gateway.seen["start_id"] = "another"
        assert gateway.post()["snapshot"]


def test_the_event_stream_calls_slots_back(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=QUICK) as node:
        node.loaded(MODEL, demo, parallel=2)
        first, second = Gateway(node, "one"), Gateway(node, "two")
        first.hold()
        second.hold()
        first.post()
        with urllib.request.urlopen(f"{node.url}/events?since={first.seen['seen_event']}", timeout=60) as stream:
            second.post(waiting=1)
            told = json.loads(next(line for line in stream if line.startswith(b"data: "))[6:])
        assert {"gateway_id": "one", "model_id": MODEL, "generation": 1, "slots": 1} in told["slots"]


def test_after_a_restart_a_drain_waits_for_gateways_that_nobody_knows(tmp_path: Path, demo: Path) -> None:
    ttl_s = 8.0
    head = f"drain_timeout_s = 60\nlease_ttl_s = {ttl_s}\n"
    with engines_ended(tmp_path):
        with neuron(tmp_path, head=head) as node:
            held_by(node, demo)
            node.stop(signal.SIGKILL)
        begin_s = time.monotonic()
        with neuron(tmp_path, head=head) as node:
            node.until(MODEL, "loaded")
            Gateway(node, "two").post()
            node.unload(MODEL, wait=False)
            wait_until(lambda: node.report(MODEL)["status"] == "unloaded", lambda: node.log)
            assert time.monotonic() - begin_s >= ttl_s


def test_after_a_restart_a_drain_waits_for_nobody_else_when_a_gateway_has_claimed_all_slots(
    tmp_path: Path, demo: Path
) -> None:
    head = "drain_timeout_s = 300\nlease_ttl_s = 300\n"
    with engines_ended(tmp_path):
        with neuron(tmp_path, head=head) as node:
            gateway = held_by(node, demo)
            node.stop(signal.SIGKILL)
        with neuron(tmp_path, head=head) as node:
            node.until(MODEL, "loaded")
            gateway.node = node
            before = gateway.slots
            assert gateway.post()["snapshot"]
            assert gateway.slots == before > 0
            node.unload(MODEL, wait=False)
            gateway.post()
            gateway.post()
            wait_until(lambda: node.report(MODEL)["status"] == "unloaded", lambda: node.log)


def test_when_all_is_started_anew_at_once_nobody_waits_for_who_has_left_or_is_back(tmp_path: Path, demo: Path) -> None:
    head = "drain_timeout_s = 300\nlease_ttl_s = 300\n"
    with engines_ended(tmp_path):
        with neuron(tmp_path, head=head) as node:
            held_by(node, demo)
            leaving = Gateway(node, "left")
            leaving.hold()
            leaving.post(leaving=True)
            node.stop(signal.SIGKILL)
        with neuron(tmp_path, head=head) as node:
            node.until(MODEL, "loaded")
            parallel = node.report(MODEL)["parallel"]
            one = Gateway(node, "one")
            one.post()
            one.hold()
            wait_until(lambda: one.post(waiting=1) and one.slots == parallel, lambda: node.log)
            node.unload(MODEL, wait=False)
            one.post()
            one.post()
            wait_until(lambda: node.report(MODEL)["status"] == "unloaded", lambda: node.log)


def held_by(node: NeuronProcess, demo: Path) -> Gateway:
    """Load the model, and have a gateway hold it."""
    node.loaded(MODEL, demo)
    gateway = Gateway(node, "one")
    gateway.hold()
    gateway.post()
    return gateway
