"""Of the headers that callers send only what is by the standard counts; a trace is recorded everywhere or nowhere."""

import random

import pytest

from cortex.kit.trace_context import TraceContext, is_recorded, parse_context, read_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()


def test_what_a_caller_says_is_understood_and_told_on_unchanged() -> None:
    context = parse_context(GOOD, b"vendor=abc,other@x=1")
    assert context == TraceContext(int(TRACE, 16), int(SPAN, 16), True, b"vendor=abc,other@x=1")
    assert context.traceparent == GOOD


@pytest.mark.parametrize(
    ("flags", "is_sampled", "told"), [("00", False, "00"), ("02", False, "02"), ("03", True, "03"), ("ff", True, "03")]
)
def test_of_the_flags_those_that_are_known_are_told_on(flags: str, is_sampled: bool, told: str) -> None:
    context = parse_context(f"00-{TRACE}-{SPAN}-{flags}".encode())
    assert context is not None
    assert context.is_sampled is is_sampled
    assert context.traceparent.decode().endswith(told)


def test_a_later_version_may_say_more() -> None:
    context = parse_context(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings".encode())
    assert context is not None
    assert context.traceparent == GOOD


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        b"garbage",
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-01-more".encode(),
        f"00-{TRACE}-{SPAN}-01-".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE[:-1]}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-1".encode(),
        f"00-{TRACE}-{SPAN}-0g".encode(),
        f"00_{TRACE}_{SPAN}_01".encode(),
        f"00-{TRACE}-{SPAN}-01\n".encode(),
        b"\xff" * 55,
    ],
)
def test_what_is_malformed_is_as_good_as_nothing(value: bytes) -> None:
    assert parse_context(value) is None


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (b"", b""),
        (b"a=1", b"a=1"),
        (b" a=1 ,\tb=2,,", b"a=1,b=2"),
        (b"tenant@system=x y", b"tenant@system=x y"),
        (b"A=1", b""),
        (b"a", b""),
        (b"a=1,a=2", b""),
        (b"a=1\r\nset-cookie: x", b""),
        (b"a=\xff", b""),
        (b"a=" + b"x" * 511, b""),
        (b",".join(b"k%d=1" % n for n in range(33)), b""),
    ],
)
def test_a_state_is_passed_on_as_it_is_or_not_at_all(state: bytes, kept: bytes) -> None:
    context = parse_context(GOOD, state)
    assert context is not None
    assert context.state == kept


def test_several_states_are_one_and_two_parents_are_none() -> None:
    context = read_context([(b"tracestate", b"a=1"), (b"traceparent", GOOD), (b"tracestate", b"b=2")])
    assert context is not None
    assert context.state == b"a=1,b=2"
    assert read_context([(b"traceparent", GOOD), (b"traceparent", GOOD)]) is None
    assert read_context([(b"tracestate", b"a=1")]) is None


def test_a_child_is_another_span_of_the_same_trace() -> None:
    parent = parse_context(GOOD, b"a=1")
    assert parent is not None
    child = parent.child(7)
    assert (child.trace_id, child.span_id, child.is_sampled, child.state) == (parent.trace_id, 7, True, b"a=1")


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 1.0])
def test_so_many_traces_are_recorded_as_is_wished(ratio: float) -> None:
    rng = random.Random(1)
    recorded = sum(is_recorded(rng.getrandbits(128), ratio) for _ in range(20_000))
    assert recorded == pytest.approx(20_000 * ratio, rel=0.05)


def test_whoever_sees_a_trace_judges_as_every_other_sdk() -> None:
    sampling = pytest.importorskip("opentelemetry.sdk.trace.sampling")
    rng, ours = random.Random(2), 0.3
    theirs = sampling.TraceIdRatioBased(ours)
    for _ in range(1000):
        trace_id = rng.getrandbits(128)
        decision = theirs.should_sample(None, trace_id, "x").decision
        assert decision.is_sampled() is is_recorded(trace_id, ours)
