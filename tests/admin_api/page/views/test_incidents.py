"""The incidents view."""

from __future__ import annotations

from admin_api.http.permissions import Role


def incident(kind, **facts):
    times = {"first_at": "2026-11-20T10:00:00.000Z", "last_at": "2026-11-20T10:05:00.000Z"}
    return {"kind": kind, **times, "count": 3, **facts}


def test_an_incident_is_described_and_links_to_its_call(browse, service):
    call = service.ids["acme"][0]
    service.daemon.happened = [incident("call-interrupted", call=call, reason="crash", status=None)]
    page = browse(Role.ADMIN).get("/incidents").text
    assert "A recording is incomplete" in page and f'href="/calls/{call}"' in page
    assert "crash" in page and "status:" not in page


def test_a_role_without_calls_gets_no_call_link(browse, service):
    service.daemon.happened = [incident("call-interrupted", call=service.ids["acme"][0])]
    page = browse(Role.OPERATOR).get("/incidents").text
    assert service.ids["acme"][0] in page and 'href="/calls/' not in page


def test_an_invalid_id_is_not_linked_in_an_incident(browse, service):
    service.daemon.happened = [incident("new-kind", call="javascript:alert(1)")]
    page = browse(Role.ADMIN).get("/incidents").text
    assert "new-kind" in page and 'href="/calls' not in page.split("<main")[1]


def test_nothing_happened(browse):
    assert "There are none." in browse(Role.OPERATOR).text("/incidents")


def test_old_ones_stand_on_further_pages(browse, service):
    service.daemon.happened = [incident("worker-died", number=n) for n in range(130)]
    page = browse(Role.OPERATOR).get("/incidents").text
    assert 'href="/incidents?cursor=30"' in page
    assert "number: <" in browse(Role.OPERATOR).get("/incidents?cursor=30").text
