"""Published estimates of the cochlear duct length, at values worked out by hand."""

import pytest

from medlangevin.shape import measure


def test_lengths_from_a_are_those_of_alexiades():
    assert measure.organ_of_corti_from_a(9.0) == pytest.approx(33.44)
    assert measure.insertion_path_from_a(9.0) == pytest.approx(34.74)


def test_lengths_from_a_and_b_are_those_of_schurzig():
    # A = 8, B = 9 makes the root whole: 9.44 + 24.21 - 7.2.
    assert measure.first_turn_from_a_and_b(8.0, 9.0) == pytest.approx(26.45)
    assert measure.lateral_wall_from_a_and_b(8.0, 9.0) == pytest.approx(45.4095)


def test_the_first_turn_of_the_mean_ear_agrees_with_its_own_published_length():
    # A 9.2 and B 6.8 mm go with a first turn of 22.5 +- 1.0 mm (docs/accuracy.md, "The digital phantom").
    assert measure.first_turn_from_a_and_b(9.2, 6.8) == pytest.approx(22.5, abs=0.2)
