"""A view that renews itself is written down once a minute."""

from admin_api.http.audit_dedup import MAX_KEPT, SECONDS, RecentReads


def seen(again: RecentReads, token: str, question: str, now: float) -> bool:
    """Look, and have it written down if that is needed; say whether it was not."""
    look = again.look(token, question, now)
    if not look.quiet:
        look.written()
    return look.quiet


def test_only_the_first_of_repeated_accesses_is_audited() -> None:
    again = RecentReads()
    assert not seen(again, "session-1", "/calls?state=recording", 100.0)
    assert seen(again, "session-1", "/calls?state=recording", 103.0)
    assert seen(again, "session-1", "/calls?state=recording", 100.0 + SECONDS - 1)


def test_a_minute_later_it_is_written_down_once_more() -> None:
    again = RecentReads()
    seen(again, "session-1", "/calls", 100.0)
    assert not seen(again, "session-1", "/calls", 100.0 + SECONDS)
    assert seen(again, "session-1", "/calls", 101.0 + SECONDS)


def test_another_session_and_another_question_are_written_down() -> None:
    again = RecentReads()
    seen(again, "session-1", "/calls", 100.0)
    assert not seen(again, "session-2", "/calls", 101.0)
    assert not seen(again, "session-1", "/calls?party=1", 101.0)


def test_only_a_recorded_access_suppresses_the_next_entry() -> None:
    again = RecentReads()
    again.look("session-1", "/calls", 100.0)
    assert not again.look("session-1", "/calls", 101.0).quiet


def test_remembered_accesses_are_bounded() -> None:
    again = RecentReads()
    for number in range(MAX_KEPT + 1):
        seen(again, "session-1", str(number), 100.0)
    assert not seen(again, "session-1", "0", 101.0)
    assert seen(again, "session-1", str(MAX_KEPT), 101.0)
