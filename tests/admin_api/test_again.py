"""A view that renews itself is written down once a minute."""

from admin_api.again import MAX_KEPT, SECONDS, Again


def test_the_first_look_is_written_down_and_the_next_ones_are_not():
    again = Again()
    assert not again.quiet("session-1", "/calls?state=recording", 100.0)
    assert again.quiet("session-1", "/calls?state=recording", 103.0)
    assert again.quiet("session-1", "/calls?state=recording", 100.0 + SECONDS - 1)


def test_a_minute_later_it_is_written_down_once_more():
    again = Again()
    again.quiet("session-1", "/calls", 100.0)
    assert not again.quiet("session-1", "/calls", 100.0 + SECONDS)
    assert again.quiet("session-1", "/calls", 101.0 + SECONDS)


def test_another_session_and_another_question_are_written_down():
    again = Again()
    again.quiet("session-1", "/calls", 100.0)
    assert not again.quiet("session-2", "/calls", 101.0)
    assert not again.quiet("session-1", "/calls?party=1", 101.0)


def test_what_is_remembered_has_a_limit():
    again = Again()
    for number in range(MAX_KEPT + 1):
        again.quiet("session-1", str(number), 100.0)
    assert not again.quiet("session-1", "0", 101.0)
    assert again.quiet("session-1", str(MAX_KEPT), 101.0)
