"""What a gateway knows besides."""

from tests.unit.fleet.builder import a_profile

from cortex.fleet.fact import Facts, KnownFacts, Use


def test_nothing_is_known_of_what_was_not_said() -> None:
    facts: Facts = KnownFacts()
    assert facts.use_of("a", "m") == Use(in_flight=0, waiting=0, last_used_s=None)
    assert facts.profile_of("m") is None
    assert facts.need_mb("m") is None
    assert (dict(facts.loads), dict(facts.holds), tuple(facts.drained)) == ({}, {}, ())


def test_what_was_said_is_found_again() -> None:
    profile = a_profile()
    facts = KnownFacts(uses={("a", "m"): Use(2)}, profiles={"m": profile}, needs_mb={"n": 7})
    assert facts.use_of("a", "m").in_flight == 2
    assert facts.use_of("b", "m").in_flight == 0
    assert facts.profile_of("m") is profile
    assert facts.need_mb("n") == 7
