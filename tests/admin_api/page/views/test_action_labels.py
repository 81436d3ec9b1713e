"""Codes have words."""

from __future__ import annotations

from admin_api.http.authorised_request import DONE, FAILED, REFUSED
from admin_api.http.permissions import Action
from admin_api.page.views.action_labels import ACTS, OUTCOMES


def test_every_act_of_the_api_has_words():
    assert [action for action in Action if action.value not in ACTS] == []


def test_no_two_acts_say_the_same():
    assert len(set(ACTS.values())) == len(ACTS)


def test_every_outcome_has_words():
    assert {DONE, REFUSED, FAILED} <= set(OUTCOMES)


def test_what_the_recorder_does_by_itself_has_words():
    own = {"export.done", "export.fail", "users.import", "retention.sweep", "retention.brake"}
    assert (own | {"audit.repair", "audit.broken"}) - set(ACTS) == set()
