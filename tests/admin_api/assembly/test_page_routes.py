"""The list of all views."""

from collections import Counter

from admin_api.assembly.lazy_page import PLACES
from admin_api.assembly.page_routes import VIEWS


def test_no_two_views_answer_the_same():
    counts = Counter((view.method, view.path) for view in VIEWS)
    assert [each for each, count in counts.items() if count > 1] == []


def test_every_view_is_found_behind_the_front():
    firsts = {view.path.split("/")[1] for view in VIEWS} - {""}
    assert firsts <= set(PLACES.split())


def test_views_look_by_get_and_act_by_post():
    assert {view.method for view in VIEWS} <= {"GET", "POST"}
    assert all(view.method == "GET" for view in VIEWS if view.menu)
