"""Forms of the page: taken once, answered by a redirect, and kept for their sender where the session has ended."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape

import pytest

from admin_api.http.permissions import Role
from admin_api.http.problems import Problem
from admin_api.page.framework import forms as module
from admin_api.page.framework.forms import Forms, Secret, UnsentForms
from admin_api.page.framework.sessions import IDLE_SECONDS
from tests.admin_api.page.conftest import led, words
from tests.in_process.sign_in_service import field


def form_of(page, action):
    """Take the hidden fields of a form out of a page."""
    found = re.search(rf'<form[^>]* action="{re.escape(action)}".*?</form>', page.text, re.S)
    assert found, page.text
    pairs = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', found[0])
    return {name: unescape(value) for name, value in pairs}


@pytest.fixture
def passing(service, monkeypatch):
    """Let time pass for the page alone."""
    site = service.run(service.lazy_page.site())
    clock = [service.monotonic()]
    monkeypatch.setattr(site, "_monotonic", lambda: clock[0])
    return clock


def test_every_form_of_every_page_has_an_id_of_its_own(browse, service):
    page = browse(*Role).get(f"/calls/{service.ids['acme'][0]}")
    ids = re.findall(r'name="once" value="([^"]+)"', page.text)
    assert len(ids) == len(set(ids)) == page.text.count('name="csrf"') >= 3


def test_two_clicks_make_one_and_lead_to_the_same(browse, service):
    admin, call = browse(Role.ADMIN), service.ids["acme"][1]
    place = f"/calls/{call}"
    wanted = {**form_of(admin.get(place), f"{place}/export"), "format": "csv", "media": "", "reason": "r"}
    before = len(service.ask("/exports").json()["items"])
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(admin.client.post, f"{place}/export", data=wanted) for _ in range(4)]
        answers = {(each.result().status_code, each.result().headers["location"]) for each in sent}
    assert len(answers) == 1 and next(iter(answers))[0] == 303
    assert len(service.ask("/exports").json()["items"]) == before + 1
    note = {**form_of(admin.get(place), f"{place}/notes"), "text": "what is right"}
    for _ in range(2):
        assert admin.client.post(f"{place}/notes", data=note).headers["location"] == place
    assert len(service.ask(f"/calls/{call}").json()["annotations"]) == 1


def test_a_refused_form_may_be_sent_again(browse, service):
    admin, place = browse(Role.ADMIN), f"/calls/{service.ids['acme'][2]}"
    form = form_of(admin.get(place), f"{place}/notes")
    assert admin.client.post(f"{place}/notes", data={**form, "text": ""}).status_code == 422
    assert admin.client.post(f"{place}/notes", data={**form, "text": "x"}).status_code == 303


@pytest.mark.parametrize("sent", ["1-", "x", "1-" + "0" * 32, "999999-" + "0" * 32, "-1-x", "１-x"])
def test_an_id_that_no_page_gave_out_does_nothing(browse, service, sent):
    admin, place = browse(Role.ADMIN), f"/calls/{service.ids['acme'][2]}"
    assert admin.post(f"{place}/notes", {"text": "x", "once": sent}).status_code == 403


@pytest.mark.parametrize("other", [{"name": "Eve"}, {"name": "Anna"}, {"name": "Anna", "customer": "beta"}])
def test_a_form_is_refused_in_another_session(browse, service, other):
    """Of a colleague, of another browser of the same person, of another customer's person of the same name."""
    place = f"/calls/{service.ids['acme'][0]}"
    anna, eve = browse(*Role, name="Anna"), browse(*Role, **other)
    form = form_of(anna.get(place), f"{place}/notes")
    before = service.ask(place).json()["annotations"]
    for csrf in (form["csrf"], eve.session.csrf):
        sent = {**form, "csrf": csrf, "text": "taken"}
        assert eve.client.post(f"{place}/notes", data=sent).status_code == 403
    kept = anna.client.post("/unsent", data={**form, "action": f"{place}/notes", "text": "hers"})
    assert kept.headers["location"] == "/unsent"
    key = form_of(anna.get("/unsent"), "/unsent")["unsent"]
    eve.post("/unsent", {"unsent": key})
    same = other == {"name": "Anna"}  # a person finds what they typed in any browser, and may throw it away
    assert ("hers" in anna.text("/unsent")) is not same
    anna.post("/unsent", {"unsent": key})
    assert service.ask(place).json()["annotations"] == before and "hers" not in anna.text("/unsent")


def test_a_passphrase_is_shown_only_once(browse, service):
    daemon = browse(Role.PRIVACY)
    place = daemon.post("/requests/new", {"kind": "access", "identities": "+49301234001"}).headers["location"]
    calls = [each["call"] for each in service.ask(f"{place}/candidates", "privacy").json()["items"]]
    daemon.post(f"{place}/selection", {"shown": calls, "in": calls[:1]})
    report = {**form_of(daemon.get(place), f"{place}/report"), "media": "", "seal": "passphrase"}
    first = daemon.client.post(f"{place}/report", data=report)
    assert first.status_code == 303
    shown = led(daemon.client, first)
    assert 'id="passphrase"' in shown.text and shown.headers["cache-control"] == "no-store"
    made = service.ask(place, "privacy").json()["report"]["id"]
    again = daemon.get(first.headers["location"])
    assert (again.status_code, again.headers["location"]) == (303, f"{place}#report")
    second = led(daemon.client, daemon.client.post(f"{place}/report", data=report))  # the other click of two
    assert second.text == shown.text
    assert daemon.get(first.headers["location"]).status_code == 303
    assert service.ask(place, "privacy").json()["report"]["id"] == made
    assert browse(Role.PRIVACY).get(first.headers["location"]).status_code == 404  # of this session alone


def test_a_form_whose_session_has_ended_is_kept_for_its_sender(browse, service, passing):
    anna, place = browse(Role.ADMIN, name="Anna"), f"/calls/{service.ids['acme'][0]}"
    typed = "Spoken by <b>Bob</b>, not by Carol"
    form = {**form_of(anna.get(place), f"{place}/notes"), "text": typed}
    passing[0] += IDLE_SECONDS + 1
    late = anna.client.post(f"{place}/notes", data=form)
    assert late.headers["location"] == "/sign-in?next=/unsent"
    assert "Your session has ended" in words(anna.get(late.headers["location"]).text)
    assert typed not in service.ask(place).text
    assert typed not in browse(Role.ADMIN, name="Eve").get("/unsent").text
    anna_again = browse(Role.ADMIN, name="Anna")
    passing[0] = service.monotonic()
    page = anna_again.get("/unsent")
    assert typed in unescape(page.text) and typed not in page.text
    sent = anna_again.client.post(f"{place}/notes", data=form_of(page, f"{place}/notes"))
    assert sent.headers["location"] == place
    assert [note["text"] for note in service.ask(place).json()["annotations"]].count(typed) == 1
    assert "Nothing is waiting" in anna_again.text("/unsent")


def test_a_page_of_before_is_understood_after_signing_in_again(browse, service, passing):
    anna, place = browse(Role.ADMIN, name="Anna"), f"/calls/{service.ids['acme'][0]}"
    form = {**form_of(anna.get(place), f"{place}/notes"), "text": "typed before"}
    passing[0] += IDLE_SECONDS + 1
    assert anna.get(place).headers["location"] == f"/sign-in?next={place}"
    other, new = browse(Role.ADMIN, name="Eve"), browse(Role.ADMIN, name="Anna")
    passing[0] = service.monotonic()
    assert other.client.post(f"{place}/notes", data=form).status_code == 403
    assert new.client.post(f"{place}/notes", data=form).headers["location"] == "/unsent"
    page = new.get("/unsent")
    assert "typed before" in page.text
    drop = {**form_of(page, "/unsent")}
    assert new.client.post("/unsent", data=drop).headers["location"] == "/unsent"
    assert "Nothing is waiting" in new.text("/unsent")


def test_passwords_and_what_no_view_takes_are_not_kept(browse, service, passing):
    anna = browse(Role.ADMIN, name="Anna")
    form = {"csrf": anna.session.csrf, "password": "some plain words in a row"}
    passing[0] += IDLE_SECONDS + 1
    assert anna.client.post("/account/password", data=form).headers["location"] == "/sign-in?next=/account"
    for action in ("/account/app", "/sign-out", "//evil.example", "/calls"):
        answer = anna.client.post("/unsent", data={**form, "action": action})
        assert "unsent" not in answer.headers["location"] and "evil" not in answer.headers["location"]
    assert anna.client.post("/calls/x/notes", data={"text": "x"}).headers["location"] == "/sign-in?next=/calls/x&lost=1"
    site = service.run(service.lazy_page.site())
    assert site._unsent.of(("acme", "Anna"), passing[0]) == []


def test_polling_does_not_extend_the_session(browse, passing):
    anna = browse(Role.ADMIN)
    passing[0] += 600
    alone = {"x-by-itself": "true"}
    assert anna.get("/session", headers=alone).json() == {"seconds": 600, "longest": False}
    assert anna.get("/session").json()["seconds"] >= 1199
    passing[0] += IDLE_SECONDS + 1
    assert anna.get("/session", headers=alone).status_code == 410
    assert browse().get("/session").status_code == 410


def test_a_form_typed_before_a_session_ended_survives_sign_in(handler):
    """With accounts: the cookie of a session that has ended, then the password."""
    handler.settle()
    browser = handler.browser()
    handler.sign_in(browser)
    form = {"csrf": field(browser.get("/account"), "csrf"), "kind": "access", "identities": "Anna"}
    handler.later += IDLE_SECONDS + 1
    late = browser.post("/requests/new", data=form)
    shown = browser.get(late.headers["location"])
    assert "What you typed is kept for an hour" in words(shown.text)
    assert handler.sign_in(browser, next=field(shown, "next")).headers["location"] == "/unsent"
    assert 'action="/requests/new"' in browser.get("/unsent").text


async def nothing():
    raise AssertionError


def test_forms_and_pages_of_a_session_are_counted(service):
    random = iter(range(1, 10**6))
    forms = Forms(b"k" * 32, lambda n: next(random).to_bytes(n, "big"))
    first = forms.issue()

    async def shows():
        return Secret("<p>secret</p>", "/on")

    async def story():
        led = await forms.take(first, shows, 0.0)
        key = led.headers["location"].removeprefix(module.SHOWN)
        assert forms.look(key, 1.0).body == b"<p>secret</p>"
        assert (await forms.take(first, nothing, 2.0)).headers["location"] == led.headers["location"]
        assert forms.look(key, 3.0).body == b"<p>secret</p>" and forms.look(key, 4.0) == "/on"
        await forms.take(first, nothing, 40.0)
        assert forms.look(key, 41.0) == "/on"  # too late for the other one of two clicks
        for _ in range(module.MAX_TAKEN):
            await forms.take(forms.issue(), shows, 50.0)
        with pytest.raises(Problem) as old:
            await forms.take(first, nothing, 50.0)
        assert old.value.status == 409
        with pytest.raises(Problem):
            forms.look(key, 50.0)

    service.run(story())


def test_unsent_forms_are_bounded_and_expire():
    random = iter(range(1, 10**6))
    kept = UnsentForms(lambda n: next(random).to_bytes(n, "big"))
    anna = ("acme", "Anna")
    for number in range(20):
        kept.keep(anna, "/a", "/", {"text": [str(number)], "csrf": ["c"]}, float(number))
        kept.keep(anna, "/a", "/", {"text": [str(number)], "once": ["o"]}, float(number))
    assert [each.typed for each in kept.of(anna, 20.0)] == [[str(number)] for number in range(10, 20)]
    assert kept.of(("beta", "Anna"), 20.0) == []
    for number in range(60):
        kept.keep(("acme", f"p{number}"), "/a", "/", {"text": ["x" * 250_000]}, 20.0)
    assert sum(bool(kept.of(("acme", f"p{number}"), 20.0)) for number in range(60)) == 33
    assert kept.of(anna, 20.0) == []
    assert not any(kept.of(("acme", f"p{number}"), 3621.0) for number in range(60))
