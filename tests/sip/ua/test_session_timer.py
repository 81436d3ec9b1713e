"""RFC 4028."""

import pytest

from sip.errors import RemoteError
from sip.message.headers import Headers
from sip.ua.session_timer import SessionTimer, negotiate


def agreed(*fields, current=None):
    return negotiate(Headers(fields), 90, current)


KNOWS = ("Supported", "100rel, TIMER")


def test_the_client_refreshes_unless_it_asks_us_to():
    """Duty S27."""
    assert agreed(KNOWS, ("Session-Expires", "1800")) == SessionTimer(1800, ours=False)
    assert agreed(KNOWS, ("x", "1800;refresher=uac")).fields() == (
        ("Session-Expires", "1800;refresher=uac"),
        ("Require", "timer"),
    )
    assert agreed(KNOWS, ("Session-Expires", "1800 ; Refresher=UAS")).ours


def test_a_short_interval_is_refused_with_422():
    with pytest.raises(RemoteError) as caught:
        agreed(KNOWS, ("Session-Expires", "60"))
    assert caught.value.status == 422
    assert agreed(("Session-Expires", "60")) is None


def test_a_small_min_se_is_no_fault():
    assert agreed(KNOWS, ("Session-Expires", "1800"), ("Min-SE", "35")) == SessionTimer(1800, ours=False)


def test_without_the_header_nothing_new_is_agreed():
    running = SessionTimer(600, ours=False)
    assert agreed(KNOWS) is None
    assert agreed(KNOWS, current=running) is running
    assert agreed(current=running) is None
    assert agreed(KNOWS, ("Session-Expires", "soon")) is None


def test_the_end_comes_before_the_interval():
    assert SessionTimer(1800, ours=False).expires_after() == 1768
    assert SessionTimer(90, ours=False).expires_after() == 60
    assert SessionTimer(1800, ours=True).refresh_after() == 900
