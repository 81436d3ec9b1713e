"""Directory users over the API: their life, their export, and nobody else's."""

import pytest

from storage.directory.user import Person

NOBODY = "00000000-0000-4000-8000-00000000ffff"
ADA = Person(first_name="Ada", last_name="Acme", upn="ada@acme.example", numbers=("+49301234000",))
EVE = Person(first_name="Eve", last_name="Gone", email="eve@acme.example")


@pytest.fixture
def people(service):
    """Ada, whom a recording knows, and Eve, whom none does: their ids."""

    async def work(customer, *who):
        users = service.customers[customer].users
        await users.carry_out(await users.plan(who, "csv", whole=True))
        found, _ = await users.listed(100)
        return {user.person.first_name: user.id for user in found}

    service.run(work("beta", Person(first_name="Bea", upn="bea@beta.example")))
    return {
        **service.run(work("beta", Person(first_name="Bea", upn="bea@beta.example"))),
        **service.run(work("acme", ADA, EVE)),
    }


def test_they_are_listed_page_by_page(service, people):
    first = service.ask("/users?limit=1", "privacy").json()
    second = service.ask(f"/users?limit=1&cursor={first['next_cursor']}", "privacy").json()
    names = {each["first_name"] for page in (first, second) for each in page["items"]}
    assert names == {"Ada", "Eve"} and second["next_cursor"] is None
    assert service.ask("/users?cursor=abc", "privacy").status_code == 422


def test_one_is_shown(service, people):
    shown = service.ask(f"/users/{people['Ada']}", "privacy").json()
    assert (shown["upn"], shown["state"], shown["numbers"]) == ("ada@acme.example", "active", ["+49301234000"])


def test_everything_kept_of_one_is_a_file(service, people):
    answer = service.ask(f"/users/{people['Ada']}/export", "privacy")
    assert answer.headers["content-disposition"] == f'attachment; filename="user-{people["Ada"]}.json"'
    document = answer.json()
    assert document["user"]["first_name"] == "Ada" and document["calls"] == [service.ids["acme"][0]]
    assert document["calls_settled"] is False  # nobody has looked at the calls yet
    assert document["uncertain"] == document["calls"]
    service.run(service.customers["acme"].correlation.load())
    service.run(service.customers["acme"].correlation.settle())
    document = service.ask(f"/users/{people['Ada']}/export", "privacy").json()
    assert (document["calls"], document["uncertain"], document["calls_settled"]) == ([service.ids["acme"][0]], [], True)


def test_the_life_of_a_user(service, people):
    for name in ("Ada", "Eve"):
        mapped = service.ask(f"/users/{people[name]}", "privacy", method="DELETE")
        assert mapped.status_code == 409 and "directory" in mapped.json()["detail"]
        answer = service.ask(f"/users/{people[name]}/unmap", "privacy", method="POST", json={})
        assert (answer.status_code, answer.json()["state"]) == (200, "inactive")
    referred = service.ask(f"/users/{people['Ada']}", "privacy", method="DELETE")
    assert referred.status_code == 409 and "Recordings" in referred.json()["detail"]
    assert service.ask(f"/users/{people['Eve']}", "privacy", method="DELETE").status_code == 204
    assert service.ask(f"/users/{people['Eve']}", "privacy").status_code == 404


def test_fields_change_only_in_the_directory(service, people):
    for method, status in (("PUT", 409), ("PATCH", 405), ("POST", 405)):
        answer = service.ask(f"/users/{people['Ada']}", "privacy", method=method, json={"upn": "x@acme.example"})
        assert answer.status_code == status
    assert service.ask(f"/users/{people['Ada']}", "privacy").json()["upn"] == "ada@acme.example"


@pytest.mark.parametrize("ready", [False, True])
def test_they_are_found_by_name_number_and_address(service, people, ready):
    if ready:
        service.run(service.customers["acme"].correlation.load())
    for question in ("ada", "Acme Ada", "030 1234000", "ADA@acme.example"):
        found = service.ask("/users", "privacy", params={"q": question, "state": "active"}).json()
        assert [user["id"] for user in found["items"]] == [people["Ada"]]
    assert service.ask("/users?q=nobody", "privacy").json() == {"items": [], "next_cursor": None}
    for query in ("q=", "state=gone", "q=a&q=b", "question=ada"):
        assert service.ask(f"/users?{query}", "privacy").status_code == 422


def test_a_user_search_loads_the_users_not_yet_read(service, people, monkeypatch):
    monkeypatch.setattr("admin_api.directory.users.MOST_UNREAD", 0)
    monkeypatch.setattr(service.customers["acme"].correlation, "_who", None)
    answer = service.ask("/users?q=ada", "privacy")
    assert [user["id"] for user in answer.json()["items"]] == [people["Ada"]]
    assert service.customers["acme"].correlation.ready


def test_another_customers_user_is_a_random_one(service, people):
    for method, path in (("GET", ""), ("GET", "/export"), ("POST", "/unmap"), ("DELETE", "")):
        answers = [
            service.ask(f"/users/{id}{path}", "privacy", method=method) for id in (people["Bea"], NOBODY, "none")
        ]
        assert {(a.status_code, a.text) for a in answers} == {(404, answers[1].text)}


def test_a_call_that_just_began_counts_before_a_user_is_deleted(service, people):
    assert service.ask(f"/users/{people['Eve']}/unmap", "privacy", method="POST").status_code == 200
    service.daemon.index_is_there = False
    try:
        assert service.ask(f"/users/{people['Eve']}", "privacy", method="DELETE").status_code == 503
        assert service.acts()[-1]["outcome"] == "failed"
    finally:
        service.daemon.index_is_there = True
    service.daemon.asked.clear()
    assert service.ask(f"/users/{people['Eve']}", "privacy", method="DELETE").status_code == 204
    assert ("settle all", "acme", "") in service.daemon.asked


def test_each_act_is_written_down(service, people):
    before = len(service.acts())
    service.ask("/users", "privacy")
    service.ask(f"/users/{people['Ada']}", "privacy")
    service.ask(f"/users/{people['Ada']}/export", "admin")
    service.ask(f"/users/{people['Ada']}", "privacy", method="DELETE")
    service.ask("/users", "listener")
    acts = [(act["action"], act["outcome"]) for act in service.acts()[before:]]
    assert acts == [
        ("users.list", "done"),
        ("user.view", "done"),
        ("user.export", "done"),
        ("user.delete", "failed"),
        ("users.list", "refused"),
    ]
    assert "Ada" not in str(service.acts()[before:])
