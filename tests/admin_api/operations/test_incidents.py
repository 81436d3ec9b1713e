"""The list of incidents, page by page."""


def kinds(answer):
    return [item["kind"] for item in answer.json()["items"]]


def test_newest_first_page_by_page(service):
    assert service.ask("/incidents").json() == {"items": [], "next_cursor": None}
    assert service.ask("/incidents?cursor=abc").status_code == 422
    service.daemon.happened = [{"kind": f"k{n}"} for n in range(5)]
    shown, cursor = [], "99"  # past the end: what there is
    while cursor:
        page = service.ask(f"/incidents?limit=2&cursor={cursor}", "operator")
        shown.append(kinds(page))
        cursor = page.json()["next_cursor"]
        service.daemon.happened.insert(0, {"kind": "new"})  # does not move the pages
    assert shown == [["k0", "k1"], ["k2", "k3"], ["k4"]]
    assert kinds(service.ask("/incidents?limit=1", "operator")) == ["new"]
