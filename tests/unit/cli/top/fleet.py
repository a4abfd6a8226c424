"""Boards to look at: with everything on it, with nothing, and with names that want to take the terminal over."""

from typing import Any

from cortex.cli.top.board import Board
from cortex.contract.activity import Cause, FinishedRequest, RunningRequest
from cortex.contract.admin import DecisionEntry, DeviceEntry, InstanceEntry, NodeEntry
from cortex.contract.instance import InstanceError

NOW = 1_800_000_000.0
GPU = DeviceEntry(
    index=0,
    name="RTX 5090",
    kind="cuda",
    vram_total_mb=32_768,
    vram_used_mb=20_480,
    strangers_mb=4096,
    reserved_mb=2048,
    utilization_pct=37.0,
    temp_c=61.0,
)
CPU = DeviceEntry(index=1, name="CPU", kind="cpu", vram_total_mb=65_536)


def a_node(name: str, **keys: Any) -> NodeEntry:
    base: dict[str, Any] = {"healthy": True, "why": "", "maintenance": False, "hostname": name, "os": "Linux"}
    base |= {"driver_version": None, "neuron_version": None, "headroom_mb": 0, "sample_age_s": 1.0, "loaded": ()}
    return NodeEntry(name=name, **base | {"in_flight": 0, "devices": (GPU, CPU)} | keys)


def an_instance(model: str, node: str, status: str = "loaded", **keys: Any) -> InstanceEntry:
    base: dict[str, Any] = {"ready": status == "loaded", "devices": (0,), "harness": "llamacpp", "generation": 1}
    base |= {"pinned": False, "vram_used_mb": 12_288, "declared_mb": 12_000, "in_flight": 0, "parallel": 4}
    return InstanceEntry(
        model=model, node=node, status=status, **base | {"slots": None, "idle_s": 90.0} | keys, protected_s=0.0
    )


def running(request_id: str, model: str, **keys: Any) -> RunningRequest:
    base: dict[str, Any] = {"operation": "chat", "node": "beast", "caller": "10.0.0.7", "key": "alice", "attempts": 1}
    base |= {"state": "streaming", "started_epoch_s": NOW - 3, "for_s": 3.0, "stream": True, "cold_start": False}
    return RunningRequest(
        request_id=request_id, model=model, **base | {"first_token_s": 0.42, "completion_tokens": 55} | keys
    )


def finished(number: int, model: str, **keys: Any) -> FinishedRequest:
    base: dict[str, Any] = {"request_id": f"req-{number:08}", "operation": "chat", "node": "beast", "caller": "bob"}
    base |= {"key": "bob", "ended_epoch_s": NOW - 5, "duration_s": 2.5, "stream": True, "status": 200, "attempts": 1}
    base |= {"outcome": "ok", "lost": (), "cold_start": False, "first_token_s": 0.1, "prompt_tokens": 9, "error": None}
    return FinishedRequest(number=number, model=model, **base | {"completion_tokens": 120, "tokens_per_s": 48.0} | keys)


def decision(number: int, kind: str, model: str, **keys: Any) -> DecisionEntry:
    base: dict[str, Any] = {"node": "beast", "caller": "alice", "reason": "fits free memory", "count": 1, "details": {}}
    return DecisionEntry(number=number, epoch_s=NOW - 60, kind=kind, model=model, **base | keys)


COLD = Cause(number=1, kind="placement", reason="had to make room", node="beast", caller="alice", evicts=("old",))
BUSY = Board(
    url="http://gate:8000",
    now_epoch_s=NOW,
    is_known=True,
    nodes=(
        a_node("beast", in_flight=2, loaded=("org/coder",)),
        a_node("benjy", healthy=False, why="connection refused", devices=()),
        a_node("spare", maintenance=True),
    ),
    instances=(
        an_instance("org/coder", "beast", in_flight=2, pinned=True),
        an_instance("org/new", "beast", "loading", progress=0.4, ready=False, vram_used_mb=None),
        an_instance("bad", "spare", "failed", error=InstanceError(code="engine_failed", message="bad magic")),
        an_instance("gone", "spare", "unloaded"),
    ),
    running=(
        running("req-1", "org/coder"),
        running("req-2", "org/new", state="loading", outlook="loading on beast, 40 %, about 30 s", first_token_s=None),
        running("req-3", "nowhere", state="waiting", node=""),
    ),
    running_count=3,
    finished=(
        finished(2, "org/coder", why=COLD, cold_start=True),
        finished(1, "org/coder", outcome="failed", error="upstream_broken", completion_tokens=None, tokens_per_s=None),
    ),
    decisions=(
        decision(9, "eviction", "old", reason="org/new needed room"),
        decision(8, "placement", "org/new", count=3),
    ),
)
EMPTY = Board(url="http://gate:8000", now_epoch_s=NOW, is_known=True)
EVIL = "\x1b[2J\x1b]0;owned\x07\r\n\u202e漢字漢字漢字漢字漢字漢字🤖e\u0301" * 4
HOSTILE = Board(
    url="http://gate:8000",
    now_epoch_s=NOW,
    is_known=True,
    nodes=(a_node(EVIL, why=EVIL, healthy=False), a_node("n" + EVIL, loaded=(EVIL,))),
    instances=(
        an_instance(EVIL, EVIL),
        an_instance(EVIL + "2", "n", "failed", error=InstanceError(code="x", message=EVIL)),
    ),
    running=(running(EVIL, EVIL, caller=EVIL, key=EVIL, outlook=EVIL),),
    running_count=1,
    finished=(finished(1, EVIL, error=EVIL, outcome="failed"),),
    decisions=(decision(1, "placement", EVIL, reason=EVIL, caller=EVIL),),
    trouble=EVIL,
    trouble_epoch_s=NOW - 10,
)
