"""The vocabulary between endpoint and user."""

from __future__ import annotations

import dataclasses
from typing import get_args

from sip.ua import events


def test_every_event_is_frozen_and_small():
    for event in get_args(events.Event):
        assert dataclasses.is_dataclass(event)
        assert event.__dataclass_params__.frozen
        assert hasattr(event, "__slots__")


def test_loggable_events_hold_only_codes():
    assert [f.name for f in dataclasses.fields(events.Refused)][:4] == ["flow", "method", "status", "reason"]
    assert [f.name for f in dataclasses.fields(events.Dropped)] == ["flow", "reason"]


def test_endings_equal_their_strings():
    assert events.Ending.NO_ACK == "no-ack"
    assert [str(ending) for ending in events.Ending] == ["timer", "no-ack", "dialog-gone"]
