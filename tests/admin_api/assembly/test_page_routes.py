"""The list of all views."""

from collections import Counter

from admin_api.assembly.lazy_page import PLACES
from admin_api.assembly.page_routes import ROLES, VIEWS
from admin_api.http.permissions import Action


def test_no_two_views_answer_the_same():
    counts = Counter((view.method, view.path) for view in VIEWS)
    assert [each for each, count in counts.items() if count > 1] == []


def test_every_view_is_found_behind_the_front():
    firsts = {view.path.split("/")[1] for view in VIEWS} - {""}
    assert firsts <= set(PLACES.split())


def test_every_view_needs_an_action_that_a_role_allows():
    assert all(view.needs in ROLES for view in VIEWS if view.needs is not None)
    assert Action.UNKNOWN not in ROLES


def test_views_look_by_get_and_act_by_post():
    assert {view.method for view in VIEWS} <= {"GET", "POST"}
    assert all(view.method == "GET" for view in VIEWS if view.menu)
