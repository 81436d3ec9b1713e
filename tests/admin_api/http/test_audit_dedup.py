"""A view that renews itself is written down once a minute."""

from admin_api.http.audit_dedup import MAX_KEPT, SECONDS, RecentReads


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def seen(again: RecentReads, token: str, question: str) -> bool:
    """Look, and have it written down if that is needed; say whether it was not."""
    look = again.look(token, question)
    if not look.quiet:
        look.written()
    return look.quiet


def test_only_the_first_of_repeated_accesses_is_audited() -> None:
    clock = Clock()
    again = RecentReads(clock)
    assert not seen(again, "session-1", "/calls?state=recording")
    for clock.now in (103.0, 100.0 + SECONDS - 1):
        assert seen(again, "session-1", "/calls?state=recording")


def test_a_minute_later_it_is_written_down_once_more() -> None:
    clock = Clock()
    again = RecentReads(clock)
    seen(again, "session-1", "/calls")
    clock.now += SECONDS
    assert not seen(again, "session-1", "/calls")
    clock.now += 1
    assert seen(again, "session-1", "/calls")


def test_another_session_and_another_question_are_written_down() -> None:
    again = RecentReads(Clock())
    seen(again, "session-1", "/calls")
    assert not seen(again, "session-2", "/calls")
    assert not seen(again, "session-1", "/calls?party=1")


def test_only_a_recorded_access_suppresses_the_next_entry() -> None:
    again = RecentReads(Clock())
    again.look("session-1", "/calls")
    assert not again.look("session-1", "/calls").quiet


def test_remembered_accesses_are_bounded() -> None:
    again = RecentReads(Clock())
    for number in range(MAX_KEPT + 1):
        seen(again, "session-1", str(number))
    assert not seen(again, "session-1", "0")
    assert seen(again, "session-1", str(MAX_KEPT))
