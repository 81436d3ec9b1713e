"""The knobs."""

from __future__ import annotations

import dataclasses

import pytest

from sip.ua.settings import Settings


def test_the_defaults_keep_to_the_standard():
    knobs = Settings()
    assert knobs.min_session_expires >= 90
    assert not knobs.strict_marks
    assert not knobs.plain_calls


def test_one_source_may_hold_many_connections_but_not_all():
    knobs = Settings()
    assert 200 < knobs.max_connections_per_peer <= knobs.max_connections / 2


def test_they_cannot_be_changed_in_flight():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().max_dialogs = 5
