"""The incidents view."""

from admin_api.http.permissions import Role


def incident(kind, **facts):
    times = {"first_at": "2026-11-20T10:00:00.000Z", "last_at": "2026-11-20T10:05:00.000Z"}
    return {"kind": kind, **times, "count": 3, **facts}


def test_an_incident_is_described_and_links_to_its_call(browse, service):
    call = service.ids["acme"][0]
    service.daemon.happened = [
        incident("call-interrupted", call=call, reason="crash", status=None),
        incident("new-kind", call="javascript:alert(1)"),
    ]
    page = browse(Role.ADMIN).get("/incidents").text.split("<main")[1]
    assert "A recording is incomplete" in page and "crash" in page and "status:" not in page and "new-kind" in page
    assert page.count('href="/calls') == page.count(f'href="/calls/{call}"') == 1
    page = browse(Role.OPERATOR).get("/incidents").text
    assert call in page and 'href="/calls/' not in page, "who may not look at calls gets no link to one"


def test_old_incidents_stand_on_further_pages(browse, service):
    operator = browse(Role.OPERATOR)
    service.daemon.happened = [incident("worker-died", number=n) for n in range(130)]
    assert 'href="/incidents?cursor=30"' in operator.get("/incidents").text
    assert "number: <" in operator.get("/incidents?cursor=30").text
