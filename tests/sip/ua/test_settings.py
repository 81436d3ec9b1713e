"""The settings of an endpoint."""

from __future__ import annotations

from sip.ua.settings import Settings


def test_the_defaults_keep_to_the_standard():
    settings = Settings()
    assert settings.min_session_expires >= 90
    assert not settings.strict_marks and not settings.plain_calls
    assert 200 < settings.max_connections_per_peer <= settings.max_connections / 2
