"""What every way in has in common."""

from __future__ import annotations

import itertools
import os

import pytest

from admin_api.household import Person
from admin_api.limits import Rate
from admin_api.page.doors import Doors
from admin_api.page.entering import onward, origin
from admin_api.page.sessions import Sessions
from storage.audit_chain import AuditError
from tests.admin_api.page.doorstep import Doorstep, inside


@pytest.mark.parametrize("path", ["/calls", "/calls/0-1", "/audit", "/a.b_c~d/e"])
def test_pages_of_ours(path: str) -> None:
    assert onward(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//evil",
        "///evil",
        "/\\evil",
        "\\evil",
        "http://evil",
        "/a//b",
        "/a?b#c",
        "/a?b=//c",
        "/a?b;url=c",
        "/a?" + 2048 * "b",
        "/a#b",
        "/a b",
        "/%2f",
        "/ä",
        "/a\n",
    ],
)
def test_what_might_be_elsewhere(path: str) -> None:
    assert onward(path) == "/"


def test_nobody_gets_in_who_cannot_be_written_down(door: Doorstep, monkeypatch: pytest.MonkeyPatch) -> None:
    door.settle()

    def broken(*_: object) -> None:
        raise AuditError("the disk is full")

    monkeypatch.setattr(door.customers["acme"].audit, "append", broken)
    browser = door.browser()
    assert door.sign_in(browser).status_code == 503
    assert not inside(browser)


def test_the_origin_is_the_browsers_unless_it_is_configured(door: Doorstep, monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.requests import Request

    request = Request({"type": "http", "scheme": "https", "path": "/", "server": ("h", 1), "query_string": b"",
                       "headers": [(b"host", b"rec.example:8443")]})  # fmt: skip
    assert origin(door.family, request) == "https://rec.example:8443"
    monkeypatch.setattr(door.family, "address", "https://page.example")
    assert origin(door.family, request) == "https://page.example"


def test_strangers_fill_no_disk_with_names_that_nobody_has(door: Doorstep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admin_api.page.sign_in.neighbourhood", lambda _: f"192.0.2.{next(numbers)}")
    monkeypatch.setattr("admin_api.page.entering.STRANGERS", Rate(0.5, 3.0))
    numbers = itertools.count()
    before, browser = len(door.told()), door.browser()
    door.run(door.front.site())._doors = Doors(door.family, Sessions(os.urandom), door.monotonic, os.urandom)
    for number in range(10):
        assert door.sign_in(browser, f"nobody {number}", "x").status_code == 403
    door.later += 2
    assert door.sign_in(browser, "nobody", "x").status_code == 403
    told = [reason for _, _, _, reason in door.told()[before:]]
    assert told == ["password"] * 3 + ["password; before it 7 that are not listed"]


def test_every_refused_try_costs_the_disk_the_same(door: Doorstep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a customer or name that there is not, and of one too many to be listed, no clock tells."""
    door.settle()
    written: list[str] = []
    for customer in door.customers.values():
        hand_over = customer.audit._hand_over
        monkeypatch.setattr(customer.audit, "_hand_over", lambda act, to=hand_over: (written.append("1"), to(act))[1])
    seen = []
    for customer, name in (("acme", "anna"), ("acme", "nobody"), ("nobody", "anna"), ("", "")):
        written.clear()
        assert door.sign_in(door.browser(), name, "wrong", customer=customer).status_code == 403
        seen.append(len(written))
    monkeypatch.setattr("admin_api.page.entering.STRANGERS", Rate(0.001, 1.0))
    door.run(door.front.site())._doors = Doors(door.family, Sessions(os.urandom), door.monotonic, os.urandom)
    for number in range(3):
        written.clear()
        door.sign_in(door.browser(), f"nobody {number}", "wrong")
        seen.append(len(written))
    assert seen == [1] * 7


def test_whoever_does_not_get_in_at_the_last_moment_is_not_written_down_as_in(
    door: Doorstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = door.settle()
    enter = door.family.enter

    async def disabled_meanwhile(*typed: str) -> Person | None:
        person = await enter(*typed)
        door.customers["acme"].accounts.change(id, lambda account: account.ended(disabled=True))
        return person

    monkeypatch.setattr(door.family, "enter", disabled_meanwhile)
    before, browser = len(door.told()), door.browser()
    assert door.sign_in(browser).status_code == 403
    assert not inside(browser)
    assert door.told()[before:] == []
