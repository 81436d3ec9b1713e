"""A view that renews itself is written down once a minute."""

from admin_api.http.audit_dedup import MAX_KEPT, SECONDS, RecentReads
from tests.in_process.waiting import Clock


def seen(again: RecentReads, token: str, question: str) -> bool:
    """Look, and have it written down if that is needed; say whether it was not."""
    look = again.look(token, question)
    if not look.quiet:
        look.written()
    return look.quiet


def test_repeated_accesses_are_audited_once_a_minute() -> None:
    clock = Clock()
    again = RecentReads(clock)
    again.look("session-1", "/calls")  # nothing was written
    assert not seen(again, "session-1", "/calls")
    clock.at += 1
    assert not seen(again, "session-2", "/calls")
    assert not seen(again, "session-1", "/calls?party=1")
    clock.at += SECONDS - 2
    assert seen(again, "session-1", "/calls")
    clock.at += 1
    assert not seen(again, "session-1", "/calls")
    clock.at += 1
    assert seen(again, "session-1", "/calls")


def test_remembered_accesses_are_bounded() -> None:
    again = RecentReads(Clock())
    for number in range(MAX_KEPT + 1):
        seen(again, "session-1", str(number))
    assert not seen(again, "session-1", "0")
    assert seen(again, "session-1", str(MAX_KEPT))
