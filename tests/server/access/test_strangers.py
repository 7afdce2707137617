"""How much a client without a key can have written."""

from server.access.strangers import MOST_ADDRESSES, WHOLE, WINDOW_S, Strangers


def test_ten_are_told_whole_and_the_others_by_one_count() -> None:
    strangers: Strangers[int] = Strangers()
    told = [strangers.admit("a", number, 0.1 * number) for number in range(100)]
    assert told == [True] * WHOLE + [False] * (100 - WHOLE)
    assert strangers.next_end == WINDOW_S
    assert strangers.close(until=-0.1) == []
    assert strangers.close(until=0.0) == [(99, 100 - WHOLE)]
    assert strangers.next_end is None


def test_a_window_that_counted_nothing_says_nothing() -> None:
    strangers: Strangers[str] = Strangers()
    assert strangers.admit("a", "x", 0.0)
    assert strangers.close(until=0.0) == []


def test_the_next_minute_is_told_anew() -> None:
    strangers: Strangers[int] = Strangers()
    for number in range(20):
        strangers.admit("a", number, 0.0)
    strangers.close(until=0.0)
    assert strangers.admit("a", 20, WINDOW_S)


def test_clients_do_not_use_up_what_is_another_s() -> None:
    strangers: Strangers[int] = Strangers()
    for number in range(50):
        strangers.admit("a", number, 0.0)
    assert strangers.admit("b", 0, 0.0)


def test_no_number_of_addresses_can_have_more_written() -> None:
    strangers: Strangers[int] = Strangers()
    told = sum(
        strangers.admit(f"address {number}", number, 0.0)
        for number in range(10_000)
        for _ in range(2)
    )
    assert told == MOST_ADDRESSES * 2
    ((last, count),) = strangers.close(until=0.0)
    assert (last, count) == (9_999, 20_000 - told)
