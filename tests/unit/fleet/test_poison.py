"""Bodies that instances died with: counted by instance, cleared by an answer, forgotten in time."""

from cortex.fleet.poison import FORGOTTEN_S, MAX_BODIES, PoisonList

BODY, OTHER = (9, b"one"), (9, b"two")
A, B = ("a", 1), ("b", 1)


def test_each_instance_that_died_counts_once() -> None:
    found = PoisonList()
    assert found.deaths(BODY, 0.0) == 0
    for _ in range(3):
        found.note_death(BODY, A, 0.0)
    assert found.deaths(BODY, 0.0) == 1
    found.note_death(BODY, B, 0.0)
    found.note_death(BODY, ("a", 2), 0.0)
    assert found.deaths(BODY, 0.0) == 3
    assert found.deaths(OTHER, 0.0) == 0


def test_an_answer_clears_a_body() -> None:
    found = PoisonList()
    found.note_death(BODY, A, 0.0)
    found.clear(BODY)
    found.clear(BODY)
    found.note_death(BODY, B, 1.0)
    assert found.deaths(BODY, 1.0) == 1


def test_a_death_is_forgotten_in_time_and_a_later_one_keeps_it() -> None:
    found = PoisonList()
    found.note_death(BODY, A, 0.0)
    found.note_death(OTHER, A, 1.0)
    found.note_death(BODY, B, 2.0)
    assert found.deaths(BODY, FORGOTTEN_S + 1.9) == 2
    assert found.deaths(OTHER, FORGOTTEN_S + 1.9) == 0
    assert found.deaths(BODY, FORGOTTEN_S + 2.0) == 0


def test_a_length_is_known_as_long_as_a_body_of_it_is() -> None:
    found = PoisonList()
    assert 9 not in found.lengths
    found.note_death(BODY, A, 0.0)
    found.note_death(OTHER, A, 0.0)
    found.clear(BODY)
    assert 9 in found.lengths
    assert 8 not in found.lengths
    assert found.deaths(OTHER, FORGOTTEN_S) == 0
    assert 9 not in found.lengths


def test_the_list_does_not_grow_for_ever() -> None:
    found = PoisonList()
    for number in range(3 * MAX_BODIES):
        found.note_death((number, b""), A, 0.0)
    assert 0 not in found.lengths
    assert len(found.lengths) == MAX_BODIES
