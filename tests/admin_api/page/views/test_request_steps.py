"""The steps of a request without scripts: choose, report, fetch, erase, close."""

import json

import pytest

from admin_api.http.permissions import Role
from admin_api.page.views import request_steps
from storage.search_forms import stored
from tests.admin_api.page.conftest import words
from tests.admin_api.page.views.test_requests import file
from tests.admin_api.privacy.test_subject_requests import make
from tests.admin_api.privacy.test_waiver import put as permit
from tests.in_process.api_service import row

ROLES = ("caller", "callee")


@pytest.fixture
def daemon(browse):
    return browse(Role.PRIVACY)


def state(service, place):
    return service.ask(place, Role.PRIVACY).json()


@pytest.fixture
def placed(daemon, service):
    """A request about the person of the second call, which has been selected."""
    place = file(daemon, identities="+49301234001")
    choose(daemon, service, place, 1)
    return place


def choose(daemon, service, place, *numbers, shown=(0, 1, 2)):
    ids = service.ids["acme"]
    form = {"act": "ticked", "shown": [ids[n] for n in shown], "in": [ids[n] for n in numbers]}
    return daemon.post(f"{place}/selection", form)


def report(daemon, place):
    return daemon.post(f"{place}/report", {"media": "", "seal": "none"})


def test_only_ticked_candidates_are_selected_for_a_request(daemon, service, monkeypatch):
    place = file(daemon, identities="Ada Acme")
    assert choose(daemon, service, place, 0, 2).headers["location"] == f"{place}#report"
    case = state(service, place)
    assert (case["state"], case["selection"]) == ("confirmed", {"in": 2, "out": 1, "undecided": 0})
    assert daemon.get(place).text.count(" checked>") >= 2
    monkeypatch.setattr(request_steps, "BATCH", 2)
    choose(daemon, service, place, 0, 1, 2)
    choose(daemon, service, place, shown=(1,))  # those of other pages stay as they were
    found = service.ask(f"{place}/candidates", Role.PRIVACY).json()["items"]
    chosen = {each["call"]: each["selected"] for each in found}
    assert [chosen[id] for id in service.ids["acme"]] == ["in", "out", "in"]
    place = file(daemon, identities="+49301234001\nAda Acme")
    daemon.post(f"{place}/selection", {"act": "sure"})
    assert state(service, place)["selection"] == {"in": 1, "out": 2, "undecided": 0}


def test_the_person_can_be_chosen_where_several_may_be_it(daemon, service):
    """Two people of the same name in one call; the choice stays when other pages are confirmed."""
    twins = [{"role": role, "name": "Kim Twin", "number": f"+4940{n}", "uri": None} for n, role in enumerate(ROLES)]
    call, _ = row(9, "acme", details={"session_id": "s", "parties": twins, "streams": []})
    forms = tuple(form for twin in twins for form in stored(twin, "DE"))
    service.run(service.customers["acme"].calls.put([call], [forms]))
    place, ticked = file(daemon, identities="Kim Twin"), {"act": "ticked", "shown": call.id, "in": call.id}
    page = daemon.get(place).text
    assert page.count(f'name="person-{call.id}"') == 2 and "Which of them is the person?" in page
    for form, undecided in (
        (ticked, 1),
        ({**ticked, f"person-{call.id}": "1"}, 0),
        ({"act": "ticked"}, 0),
        ({**ticked, f"person-{call.id}": "7"}, 0),
    ):
        daemon.post(f"{place}/selection", form)
        assert state(service, place)["selection"] == {"in": 1, "out": 0, "undecided": undecided}
        assert ("it is not known which of the people is the person" in daemon.text(place)) is bool(undecided)
        assert undecided or 'value="1" checked' in daemon.get(place).text


def test_the_day_of_the_answer_is_moved(daemon, service):
    place = file(daemon, received_at="2026-02-01")
    longer = {"months": "2", "ground": "complexity", "told_at": "2026-02-20", "reason": "many <b>calls</b>"}
    assert daemon.post(f"{place}/extension", longer).headers["location"] == place
    case = state(service, place)
    assert (case["due_at"], case["extension"]["reason"]) == ("2026-05-01T00:00:00.000Z", "many <b>calls</b>")
    page = daemon.get(place).text
    assert "by 2 months the complexity of the request The person was told on 2026-02-20" in words(page)
    assert "The person was told: many &lt;b&gt;calls&lt;/b&gt;" in page
    late = daemon.post(f"{place}/extension", {**longer, "told_at": "2026-03-20"})
    assert late.status_code == 422 and "must be in the month after the letter arrived" in late.text
    assert (
        'maxlength="4000">many &lt;b&gt;calls&lt;/b&gt;</textarea>' in late.text
        and '<details class="act" open>' in late.text
    )


def test_a_report_is_refused_made_polled_and_cancelled(daemon, service, placed):
    from_htmx = {"headers": {"HX-Request": "true"}}
    assert report(daemon, file(daemon)).status_code == 409, "nothing has been confirmed"
    odd = daemon.post(f"{placed}/report", {"media": "", "seal": "recipient", "recipient": "age1<b>"})
    assert odd.status_code == 422 and "must be an age recipient" in odd.text and "age1<b>" not in odd.text
    assert "Nothing was found here" in words(daemon.get(f"{placed}/report/file").text)
    report(daemon, placed)
    waits = daemon.get(f"{placed}/report/file")
    assert waits.status_code == 409 and "The report is not finished yet." in words(waits.text)
    assert 'hx-get="' in daemon.get(placed).text
    part = daemon.get(placed, **from_htmx)
    assert "being made" in part.text and "<html" not in part.text
    assert daemon.post(f"{placed}/report/cancel").status_code == 303
    assert state(service, placed)["state"] == "confirmed"
    assert daemon.get(placed, **from_htmx).headers["hx-refresh"] == "true"


def test_erasure_wants_a_tick_a_waiver_and_tells_what_happens(daemon, service, placed):
    assert "1 call will be erased" in daemon.text(placed)
    assert daemon.post(f"{placed}/erasure", {"reason": "Art. 17"}).status_code == 303
    assert state(service, placed)["state"] == "confirmed"
    wanted = {"reason": "Art. 17", "understood": "1"}
    refused = daemon.post(f"{placed}/erasure", wanted)
    assert refused.status_code == 409 and "Put one on file under Erasures" in refused.text
    permit(service)
    report(daemon, placed)
    make(service, placed.split("/")[-1])
    assert "Its file is gone" not in daemon.text(placed)
    assert daemon.post(f"{placed}/erasure", wanted).status_code == 303
    case, page = state(service, placed), daemon.get(placed).text
    assert case["state"] == "erasing"
    assert f'href="/erasures/{case["erasure"]["id"]}"' in page and '<li aria-current="step">Erasure<' in page
    service.run(service.customers["acme"].erasures.work())
    page = daemon.get(placed).text
    assert '<li aria-current="step">Close<' in page, "what is erased is not to be done again"
    assert "The file is gone: it expired, or one of its calls was erased." in page


def test_a_closed_request_forgets_its_person(daemon, service):
    place = file(daemon, identities="Anna Unforgettable", reference="letter 99")
    assert daemon.get(f"{place}/record").headers["location"] == place, "there is none before"
    refusal = daemon.post(f"{place}/close", {"outcome": "refused", "ground": ""})
    assert refusal.status_code == 422 and "must be told why" in refusal.text
    assert daemon.post(f"{place}/close", {"outcome": "refused", "ground": "not_identified"}).status_code == 303
    page = daemon.get(place).text
    record = daemon.get(f"{place}/record")
    assert record.headers["content-disposition"] == f'attachment; filename="record-{place.split("/")[-1]}.json"'
    assert json.loads(record.text) == state(service, place)["record"]
    assert "What remains" in page and "could not be identified" in page and "signature" in page
    assert "Unforgettable" not in page and "letter 99" not in page
