from mgr_fscrypt.backoff import Backoff


def test_pauses_double_up_to_a_minute_and_begin_anew():
    pauses = Backoff(chance=lambda: 0.0)
    assert [pauses.delay() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    pauses.reset()
    assert pauses.delay() == 1


def test_chance_cuts_up_to_a_quarter():
    assert Backoff(chance=lambda: 1.0).delay() == 0.75
    assert {0.75 <= Backoff().delay() <= 1 for _ in range(100)} == {True}
