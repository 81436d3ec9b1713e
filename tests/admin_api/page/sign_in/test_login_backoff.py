"""Waiting after failures: none at first, then twice as long each time, never for ever."""

import pytest

from admin_api.page.sign_in import login_backoff
from admin_api.page.sign_in.login_backoff import (
    MAX_DELAY,
    MAX_DELAYED,
    MAX_DELAYED_OF_ONE,
    PER_SHARED_ADDRESS,
    PER_USUAL,
    BackoffPolicy,
    DelayedAttempts,
    LoginBackoff,
)

FEW = BackoffPolicy(3, 60.0, 100.0)
STRICT = BackoffPolicy(3, 60.0, 1e9)


def test_login_waits_double_up_to_the_maximum() -> None:
    each, now, waits = LoginBackoff(STRICT), 0.0, []
    for _ in range(12):
        wait = each.take("a", now)
        if wait:
            waits.append(wait)
            now += wait
            assert each.take("a", now) == 0
    assert waits[:6] == [1, 2, 4, 8, 16, 32]
    assert max(waits) == 60


def taken(each: LoginBackoff, key: str, now: float, times: int) -> list[float]:
    return [each.take(key, now) for _ in range(times)]


def test_failures_of_one_are_counted_at_once_and_forgotten() -> None:
    each = LoginBackoff(FEW)
    assert taken(each, "a", 0.0, 100) == [0, 0, 0, *[1] * 97], "waiting does not grow by asking"
    assert each.take("b", 0.0) == 0
    assert each.take("a", 0.5) == 1
    assert each.take("a", 1.0) == 0
    assert taken(each, "a", 1000.0, 4) == [0, 0, 0, 1]
    each.passed("a")
    assert taken(each, "a", 1000.0, 3) == [0, 0, 0]


def test_a_right_try_is_taken_back_and_no_other() -> None:
    each = LoginBackoff(FEW)
    for _ in range(20):
        assert each.take("a", 0.0) == 0
        each.forgive("a")
    each.forgive("never seen")
    assert taken(each, "a", 0.0, 4) == [0, 0, 0, 1]


@pytest.mark.parametrize(("forgiven", "wait"), [(False, 0), (True, 1)])
def test_the_least_recent_failure_is_forgotten_first(
    monkeypatch: pytest.MonkeyPatch, forgiven: bool, wait: float
) -> None:
    monkeypatch.setattr(login_backoff, "MAX_KEYS", 2)
    each = LoginBackoff(FEW)
    assert taken(each, "a", 0.0, 3) == [0, 0, 0]
    for key in "bcde":
        each.take(key, 0.0)
        if forgiven:
            each.forgive(key)
    assert each.take("a", 0.0) == wait


def test_tries_take_turns_in_the_order_they_came() -> None:
    each, waits = LoginBackoff(FEW), []
    for _ in range(7):
        waits.append(each.wait("a", 0.0))
        each.count("a", 0.0)
    assert waits == [0, 0, 0, 1, 3, 7, 15]
    assert each.wait("a", 14.0) == 17


def test_few_wait_at_once_and_fewer_of_one_address() -> None:
    waiting = DelayedAttempts()
    assert [waiting.enter("a") for _ in range(4)] == [True] * MAX_DELAYED_OF_ONE + [False] * (4 - MAX_DELAYED_OF_ONE)
    assert [waiting.enter(str(n)) for n in range(MAX_DELAYED)].count(True) == MAX_DELAYED - MAX_DELAYED_OF_ONE
    waiting.leave("a")
    assert [waiting.enter(key) for key in "bc"] == [True, False]
    for terms in (PER_USUAL, PER_SHARED_ADDRESS):  # a full queue of one address leaves room for others
        assert (MAX_DELAYED_OF_ONE + 1) * terms.longest <= MAX_DELAY
