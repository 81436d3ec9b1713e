"""The first page after signing in."""

from __future__ import annotations

import asyncio

from admin_api.page.framework.page_request import View
from admin_api.page.views.home import VIEWS, home


class FakeVisit:
    def __init__(self, *paths: str) -> None:
        self.menu = [View("GET", path, home, menu=path) for path in paths]

    def moved(self, to):
        return ("moved", to)

    def page(self, template, **values):
        return ("page", template)


def test_the_first_view_of_the_menu_is_home():
    assert asyncio.run(home(FakeVisit("/calls", "/users"))) == ("moved", "/calls")


def test_without_any_view_it_says_so():
    assert asyncio.run(home(FakeVisit())) == ("page", "home.html")


def test_everybody_has_a_home():
    assert [(view.path, view.needs) for view in VIEWS] == [("/", None)]
