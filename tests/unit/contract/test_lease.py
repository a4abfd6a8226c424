"""What a gateway may report: nothing without bounds, nothing twice, and more than this version knows."""

import msgspec
import pytest

from cortex.contract.lease import MAX_LEASES, HealthSample, LeaseAnswer, LeasePost

LEASE = {"model_id": "org/m", "generation": 3, "in_flight": 1}


def decoded(**fields: object) -> LeasePost:
    return msgspec.json.decode(msgspec.json.encode({"gateway_id": "g", "seq": 1, **fields}), type=LeasePost)


def test_a_post_needs_no_more_than_who_and_which() -> None:
    assert decoded() == LeasePost(gateway_id="g", seq=1)


def test_fields_of_later_versions_are_passed_over() -> None:
    assert decoded(colour="red", leases=[{**LEASE, "mood": 1}]).leases[0].in_flight == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"gateway_id": ""}, "gateway_id", id="no name"),
        pytest.param({"gateway_id": "a\n"}, "gateway_id", id="name that ends with a line"),
        pytest.param({"gateway_id": "a\nb"}, "gateway_id", id="a name of two lines"),
        pytest.param({"gateway_id": "g" * 129}, "gateway_id", id="an endless name"),
        pytest.param({"seq": -1}, "seq", id="a number below zero"),
        pytest.param({"seq": 1 << 63}, "seq", id="a number that no column holds"),
        pytest.param({"seq": "1"}, "seq", id="a number in quotes"),
        pytest.param({"seen_event": -1}, "seen_event", id="an event below zero"),
        pytest.param({"leases": [{"model_id": "m", "generation": 1}]}, "in_flight", id="in flight left out"),
        pytest.param({"leases": [{**LEASE, "in_flight": -1}]}, "in_flight", id="less than nothing in flight"),
        pytest.param({"leases": [{**LEASE, "waiting": 2_000_000}]}, "waiting", id="more waiting than anyone has"),
        pytest.param({"leases": [{**LEASE, "oldest_wait_s": -0.1}]}, "oldest_wait_s", id="a wait from the future"),
        pytest.param({"leases": [{**LEASE, "idle_s": 1e300}]}, "idle_s", id="idle since before the stars"),
        pytest.param({"leases": [{**LEASE, "model_id": ""}]}, "model_id", id="a model without a name"),
        pytest.param({"leases": [LEASE, LEASE]}, "twice", id="one generation twice"),
        pytest.param(
            {"leases": [{**LEASE, "generation": n} for n in range(MAX_LEASES + 1)]}, "leases", id="too many leases"
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(fields: dict[str, object], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        decoded(**fields)


def test_an_answer_leaves_out_what_is_empty() -> None:
    answer = LeaseAnswer(start_id="s", event=1, ttl_s=40.0, cancel_settle_s=10.0, health=HealthSample(age_s=1.0))
    assert set(msgspec.json.decode(msgspec.json.encode(answer))) == {
        "start_id", "event", "ttl_s", "cancel_settle_s", "health",
    }  # fmt: skip
