"""The list of incidents, page by page."""

from admin_api.operations.incidents import _left


def kinds(answer):
    return [item["kind"] for item in answer.json()["items"]]


def test_newest_first_page_by_page(service):
    service.daemon.happened = [{"kind": f"k{n}"} for n in range(5)]
    first = service.ask("/incidents?limit=2", "operator")
    assert kinds(first) == ["k0", "k1"]
    service.daemon.happened.insert(0, {"kind": "new"})  # does not move the pages
    second = service.ask(f"/incidents?limit=2&cursor={first.json()['next_cursor']}", "operator")
    assert kinds(second) == ["k2", "k3"]
    last = service.ask(f"/incidents?limit=2&cursor={second.json()['next_cursor']}", "operator")
    assert kinds(last) == ["k4"]
    assert last.json()["next_cursor"] is None


def test_no_incidents(service):
    assert service.ask("/incidents").json() == {"items": [], "next_cursor": None}


def test_a_cursor_of_another_list(service):
    assert service.ask("/incidents?cursor=abc").status_code == 422


def test_a_cursor_past_the_end_shows_what_there_is():
    assert _left("99", 3) == 3
