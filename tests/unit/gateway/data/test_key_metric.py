"""What each key has asked for: few labels, however many keys there are."""

from tests.unit.gateway.data.test_metric import a_record

from cortex.gateway.data.key_metric import OTHERS, KeyMetrics


def samples(metrics: KeyMetrics, name: str) -> dict[tuple[str, ...], float]:
    found = [sample for metric in metrics.collect() for sample in metric.samples if sample.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in found}


def test_requests_and_tokens_are_counted_by_key() -> None:
    metrics = KeyMetrics()
    metrics.count(a_record(key="a"))
    metrics.count(a_record(key="b", prompt_tokens=None, completion_tokens=None))
    assert samples(metrics, "cortex_key_requests_total") == {("a",): 1, ("b",): 1}
    assert samples(metrics, "cortex_key_tokens_total") == {
        ("a", "prompt"): 10,
        ("a", "completion"): 20,
        ("b", "prompt"): 0,
        ("b", "completion"): 0,
    }


def test_of_very_many_keys_the_later_ones_are_counted_together() -> None:
    metrics = KeyMetrics(max_keys=3)
    for number in range(50):
        metrics.count(a_record(key=f"key-{number}"))
    metrics.count(a_record(key="key-0"))
    assert samples(metrics, "cortex_key_requests_total") == {
        ("key-0",): 2,
        ("key-1",): 1,
        ("key-2",): 1,
        (OTHERS,): 47,
    }
