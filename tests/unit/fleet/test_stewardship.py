"""What a steward goes by has the defaults of the configuration."""

from cortex.fleet.stewardship import StewardRules


def test_the_rules_are_patient_by_default() -> None:
    rules = StewardRules()
    assert rules.scale_after_s < rules.defrag_idle_s < rules.scale_idle_s
    assert rules.lost_after_s > 3 * 5.0, "longer than three polls can take to fail"
