"""Codes have words."""

from __future__ import annotations

from admin_api.http.authorised_request import DONE
from admin_api.http.permissions import Action
from admin_api.http.problems import FAILED, REFUSED
from admin_api.page.views.action_labels import ACTS, OUTCOMES


def test_every_api_action_has_a_label():
    assert [action for action in Action if action.value not in ACTS] == []


def test_no_two_acts_say_the_same():
    assert len(set(ACTS.values())) == len(ACTS)


def test_every_outcome_has_a_label():
    assert {DONE, REFUSED, FAILED} <= set(OUTCOMES)


def test_the_recorders_own_actions_have_labels():
    own = {"export.done", "export.fail", "users.import", "retention.sweep", "retention.brake"}
    assert (own | {"audit.repair", "audit.broken"}) - set(ACTS) == set()
