"""Forms of the page: taken once, answered by a redirect, and kept for their sender where the session has ended."""

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
def anna(handler):
    """Anna's browser, signed in at a service whose clock the test moves."""
    handler.settle("Anna")
    return handler.entered("Anna")


@pytest.fixture
def place(handler):
    return f"/calls/{handler.ids['acme'][0]}"


def texts(handler, place):
    return [note["text"] for note in handler.ask(place).json()["annotations"]]


def seen(browser, path):
    return words(browser.get(path).text)


def test_two_clicks_make_one_and_lead_to_the_same(browse, service):
    admin, call = browse(Role.ADMIN), service.ids["acme"][1]
    place = f"/calls/{call}"
    page = admin.get(place)
    ids = re.findall(r'name="once" value="([^"]+)"', page.text)
    assert len(ids) == len(set(ids)) == page.text.count('name="csrf"') >= 3, "every form has an id of its own"
    wanted = {**form_of(page, f"{place}/export"), "format": "csv", "media": "", "reason": "r"}
    before = len(service.ask("/exports").json()["items"])
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(admin.client.post, f"{place}/export", data=wanted) for _ in range(4)]
        (answer,) = {(each.result().status_code, each.result().headers["location"]) for each in sent}
    assert answer[0] == 303
    assert len(service.ask("/exports").json()["items"]) == before + 1
    note = form_of(admin.get(place), f"{place}/notes")
    assert admin.client.post(f"{place}/notes", data={**note, "text": ""}).status_code == 422
    for _ in range(2):
        answer = admin.client.post(f"{place}/notes", data={**note, "text": "what is right"})
        assert answer.headers["location"] == place
    for odd in ("1-", "x", "1-" + "0" * 32, "999999-" + "0" * 32, "-1-x", "１-x"):  # no page gave it out
        assert admin.post(f"{place}/notes", {"text": "x", "once": odd}).status_code == 403
    assert len(service.ask(f"/calls/{call}").json()["annotations"]) == 1


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
    made = service.ask(place, "privacy").json()["report"]
    assert (made["state"], made["encrypted"], made["other_parties"]) == ("running", "passphrase", False)
    again = daemon.get(first.headers["location"])
    assert (again.status_code, again.headers["location"]) == (303, f"{place}#report")
    second = led(daemon.client, daemon.client.post(f"{place}/report", data=report))  # the other click of two
    assert second.text == shown.text
    assert daemon.get(first.headers["location"]).status_code == 303
    assert service.ask(place, "privacy").json()["report"]["id"] == made["id"]
    assert browse(Role.PRIVACY).get(first.headers["location"]).status_code == 404  # of this session alone


def test_a_form_whose_session_has_ended_is_kept_for_its_sender(handler, anna, place):
    typed, notes = "Spoken by <b>Bob</b>, not by Carol", f"{place}/notes"
    form, before = (
        {**form_of(anna.get(place), notes), "text": typed},
        {**form_of(anna.get(place), notes), "text": "too"},
    )
    handler.later += IDLE_SECONDS + 1
    assert "Your session has ended" in seen(anna, anna.get(place).headers["location"])
    late = anna.post(notes, data=form)
    assert late.headers["location"] == "/sign-in?next=/unsent"
    shown = anna.get(late.headers["location"])
    assert "Your session has ended" in words(shown.text) and "What you typed is kept for an hour" in words(shown.text)
    assert typed not in texts(handler, place)
    handler.settle("Eve")
    eve = handler.entered("Eve")
    assert typed not in unescape(eve.get("/unsent").text)
    assert eve.post(notes, data=before).status_code == 403
    assert handler.sign_in(anna, "Anna", next=field(shown, "next")).headers["location"] == "/unsent"
    page = anna.get("/unsent")
    assert typed in unescape(page.text) and typed not in page.text
    assert anna.post(notes, data=form_of(page, notes)).headers["location"] == place
    assert texts(handler, place).count(typed) == 1
    assert "Nothing is waiting" in seen(anna, "/unsent")
    assert anna.post(notes, data=before).headers["location"] == "/unsent", "a page of before is understood"
    assert anna.post("/unsent", data=form_of(anna.get("/unsent"), "/unsent")).headers["location"] == "/unsent"
    assert "Nothing is waiting" in seen(anna, "/unsent")


def test_passwords_and_what_no_view_takes_are_not_kept(handler, anna):
    form = {"csrf": field(anna.get("/account"), "csrf"), "password": "some plain words in a row"}
    handler.later += IDLE_SECONDS + 1
    assert anna.post("/account/password", data=form).headers["location"] == "/sign-in?next=/account"
    for action in ("/account/app", "/sign-out", "//evil.example", "/calls"):
        answer = anna.post("/unsent", data={**form, "action": action})
        assert "unsent" not in answer.headers["location"] and "evil" not in answer.headers["location"]
    assert anna.post("/calls/x/notes", data={"text": "x"}).headers["location"] == "/sign-in?next=/calls/x&lost=1"
    assert "Nothing is waiting" in seen(handler.entered("Anna"), "/unsent")


def test_polling_does_not_extend_the_session(handler, anna):
    handler.later += 600
    alone = {"x-by-itself": "true"}
    assert anna.get("/session", headers=alone).json() == {"seconds": 600, "longest": False}
    assert anna.get("/session").json()["seconds"] >= 1199
    handler.later += IDLE_SECONDS + 1
    assert anna.get("/session", headers=alone).status_code == 410
    assert handler.browser().get("/session").status_code == 410


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


async def test_unsent_forms_are_bounded_and_expire():
    random = iter(range(1, 10**6))
    clock = [0.0]
    kept = UnsentForms(lambda n: next(random).to_bytes(n, "big"), lambda: clock[0])
    anna = ("acme", "Anna")
    for number in range(20):
        await kept.keep(anna, "/a", "/", {"text": [str(number)], "csrf": ["c"]})
        await kept.keep(anna, "/a", "/", {"text": [str(number)], "once": ["o"]})
    assert [each.typed for each in await kept.of(anna)] == [[str(number)] for number in range(10, 20)]
    assert await kept.of(("beta", "Anna")) == []
    for number in range(60):
        await kept.keep(("acme", f"p{number}"), "/a", "/", {"text": ["x" * 250_000]})
    assert len([n for n in range(60) if await kept.of(("acme", f"p{n}"))]) == 33
    assert await kept.of(anna) == []
    clock[0] = 3601.0
    assert not [n for n in range(60) if await kept.of(("acme", f"p{n}"))]
