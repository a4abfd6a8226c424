"""Pictures of nodes."""

from tests.unit.fleet.builder import a_node, a_report


def test_report_of_a_model_is_found_by_its_id() -> None:
    node = a_node(models=[a_report("m"), a_report("n")])
    report = node.report_of("n")
    assert report is not None
    assert report.id == "n"
    assert node.report_of("x") is None
