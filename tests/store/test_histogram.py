"""How values are spread."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from store.histogram import SECONDS, Histogram


@given(st.lists(st.floats(0, 100)))
def test_every_value_is_in_the_first_slot_that_holds_it(values: list[float]) -> None:
    """A value equal to a bound is within; what is beyond all has a slot of its own."""
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.add(value)
    slots = [bisect_left(SECONDS, value) for value in values]
    assert histogram.counts == [slots.count(number) for number in range(len(SECONDS) + 1)]
    assert (histogram.count, histogram.total) == (len(values), sum(values))


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_so_many_of_the_values_are_at_most_the_bound(values: list[float], share: float) -> None:
    """It is a bound, and the smallest one; of what is beyond all bounds the largest is told."""
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.add(value)
    bound = histogram.at_most(share)
    assert bound in SECONDS
    smaller = [each for each in SECONDS if each < bound]
    if sum(value <= SECONDS[-1] for value in values) >= share * len(values):
        assert sum(value <= bound for value in values) >= share * len(values)
    if smaller:
        assert sum(value <= smaller[-1] for value in values) < share * len(values)


def test_where_there_are_no_values_there_is_no_bound() -> None:
    """Nothing is said of what has not happened."""
    assert Histogram(SECONDS).at_most(0.99) is None
