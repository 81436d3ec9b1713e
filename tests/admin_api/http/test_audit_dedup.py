"""A view that renews itself is written down once a minute."""

from admin_api.http.audit_dedup import MAX_KEPT, SECONDS, RecentReads


def seen(again: RecentReads, token: str, question: str, now: float) -> bool:
    """Look, and have it written down if that is needed; say whether it was not."""
    look = again.look(token, question, now)
    if not look.quiet:
        look.written()
    return look.quiet


def test_repeated_accesses_are_audited_once_a_minute() -> None:
    again = RecentReads()
    again.look("session-1", "/calls", 99.0)  # nothing was written
    assert not seen(again, "session-1", "/calls", 100.0)
    assert not seen(again, "session-2", "/calls", 101.0)
    assert not seen(again, "session-1", "/calls?party=1", 101.0)
    assert seen(again, "session-1", "/calls", 99.0 + SECONDS)
    assert not seen(again, "session-1", "/calls", 100.0 + SECONDS)
    assert seen(again, "session-1", "/calls", 101.0 + SECONDS)


def test_remembered_accesses_are_bounded() -> None:
    again = RecentReads()
    for number in range(MAX_KEPT + 1):
        seen(again, "session-1", str(number), 100.0)
    assert not seen(again, "session-1", "0", 101.0)
    assert seen(again, "session-1", str(MAX_KEPT), 101.0)
