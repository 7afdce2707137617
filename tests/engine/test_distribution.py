"""What a histogram keeps of its observations."""

from engine.distribution import Distribution, empty

BOUNDS = (1.0, 2.0, 4.0)


def test_a_bound_belongs_to_the_bucket_that_it_ends() -> None:
    seen = empty(BOUNDS)
    for value in (0.0, 1.0, 1.1, 4.0, 4.1):
        seen.observe(value, BOUNDS)
    assert (seen.counts, round(seen.sum, 6)) == ([2, 1, 1, 1], 10.2)


def test_one_observation_may_stand_for_several() -> None:
    seen = Distribution([0, 0, 0, 0])
    seen.observe(2.0, BOUNDS, times=3)
    assert (seen.counts, seen.sum) == ([0, 3, 0, 0], 6.0)


def test_a_copy_stays_as_it_is() -> None:
    seen = Distribution([0, 0, 0, 0])
    copied = seen.copy()
    seen.observe(2.0, BOUNDS)
    assert copied == Distribution([0, 0, 0, 0])
