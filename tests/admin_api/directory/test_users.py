"""Directory users over the API: their life, their export, and nobody else's."""

import contextlib

import pytest

from storage.directory.user import Person
from tests.in_process.api_service import Service

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

    bea = Person(first_name="Bea", upn="bea@beta.example")
    return {**service.run(work("beta", bea)), **service.run(work("acme", ADA, EVE))}


def ask(service, id, path="", method="GET", **more):
    return service.ask(f"/users/{id}{path}", "privacy", method=method, **more)


def test_they_are_listed_page_by_page(service, people):
    first = service.ask("/users?limit=1", "privacy").json()
    second = service.ask(f"/users?limit=1&cursor={first['next_cursor']}", "privacy").json()
    names = {each["first_name"] for page in (first, second) for each in page["items"]}
    assert names == {"Ada", "Eve"} and second["next_cursor"] is None
    assert service.ask("/users?cursor=abc", "privacy").status_code == 422


def test_everything_kept_of_one_is_a_file(service, people):
    shown = ask(service, people["Ada"]).json()
    assert (shown["upn"], shown["state"], shown["numbers"]) == ("ada@acme.example", "active", ["+49301234000"])
    answer, calls = ask(service, people["Ada"], "/export"), [service.ids["acme"][0]]
    assert answer.headers["content-disposition"] == f'attachment; filename="user-{people["Ada"]}.json"'
    document = answer.json()
    assert document["user"]["first_name"] == "Ada"
    assert (document["calls"], document["uncertain"], document["calls_settled"]) == (calls, calls, False)
    service.run(service.customers["acme"].user_matcher.load())
    service.run(service.customers["acme"].user_matcher.settle())
    document = ask(service, people["Ada"], "/export").json()
    assert (document["calls"], document["uncertain"], document["calls_settled"]) == (calls, [], True)


def test_the_life_of_a_user(service, people, monkeypatch):
    for name in ("Ada", "Eve"):
        mapped = ask(service, people[name], method="DELETE")
        assert mapped.status_code == 409 and "directory" in mapped.json()["detail"]
        assert ask(service, people[name], "/unmap", "POST", json={}).json()["state"] == "inactive"
    referred = ask(service, people["Ada"], method="DELETE")
    assert referred.status_code == 409 and "Recordings" in referred.json()["detail"]
    monkeypatch.setattr(service.daemon, "index_is_there", False)
    assert ask(service, people["Eve"], method="DELETE").status_code == 503, "a call that just began counts"
    assert service.acts()[-1]["outcome"] == "failed"
    monkeypatch.setattr(service.daemon, "index_is_there", True)
    service.daemon.asked.clear()
    assert ask(service, people["Eve"], method="DELETE").status_code == 204
    assert ("settle all", "acme", "") in service.daemon.asked
    assert ask(service, people["Eve"]).status_code == 404


@pytest.mark.parametrize("ready", [False, True])
def test_they_are_found_by_name_number_and_address(service, people, ready):
    if ready:
        service.run(service.customers["acme"].user_matcher.load())
    for question in ("ada", "Acme Ada", "030 1234000", "ADA@acme.example"):
        found = service.ask("/users", "privacy", params={"q": question, "state": "active"}).json()
        assert [user["id"] for user in found["items"]] == [people["Ada"]]
    assert service.ask("/users?q=nobody", "privacy").json() == {"items": [], "next_cursor": None}
    for query in ("q=", "state=gone", "q=a&q=b", "question=ada"):
        assert service.ask(f"/users?{query}", "privacy").status_code == 422


def test_a_user_search_loads_the_users_not_yet_read(tmp_path, monkeypatch):
    monkeypatch.setattr("admin_api.directory.users.MOST_UNREAD", 0)
    with contextlib.closing(Service(tmp_path)) as fresh:
        made = fresh.ask("/users", "privacy", method="POST", json={"first_name": "Ada", "upn": "ada@acme.example"})
        assert not fresh.customers["acme"].user_matcher.ready
        answer = fresh.ask("/users?q=ada", "privacy")
        assert [user["id"] for user in answer.json()["items"]] == [made.json()["id"]]
        assert fresh.customers["acme"].user_matcher.ready


def test_another_customers_user_is_a_random_one(service, people):
    for method, path in (("GET", ""), ("GET", "/export"), ("POST", "/unmap"), ("DELETE", "")):
        answers = [
            service.ask(f"/users/{id}{path}", "privacy", method=method) for id in (people["Bea"], NOBODY, "none")
        ]
        assert {(a.status_code, a.text) for a in answers} == {(404, answers[1].text)}
