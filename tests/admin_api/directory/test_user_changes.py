"""Users of a customer without a directory: made, changed and listed whole through the API; others change elsewhere."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.directory.user import Person

ADA = {"first_name": "Ada", "last_name": "Acme", "upn": "ada@acme.example", "numbers": ["+49301234000"]}
NOBODY = "00000000-0000-4000-8000-00000000ffff"


@pytest.fixture
def clean(service):
    """A customer without users."""
    yield service

    async def deleted():
        users = service.customers["acme"].users
        for user in (await users.listed(1000))[0]:
            await users.unmap(user.id)
            await users.delete(user.id)

    service.run(service.customers["acme"].calls.remove(service.ids["acme"]))  # they would keep Ada
    service.run(deleted())


def test_one_is_made_changed_and_gone(clean):
    made = clean.ask("/users", "privacy", method="POST", json=ADA)
    assert made.status_code == 201
    user = made.json()
    assert (user["source"], user["state"], user["numbers"]) == ("api", "active", ["+49301234000"])
    again = clean.ask("/users", "privacy", method="POST", json=ADA)
    assert again.status_code == 409 and user["id"] in again.json()["detail"]
    path = f"/users/{user['id']}"
    changed = clean.ask(path, "admin", method="PUT", json={**ADA, "numbers": ["+49301234999"]})
    assert changed.status_code == 200 and changed.json()["numbers"] == ["+49301234999"]
    (before,) = changed.json()["former"]
    assert (before["kind"], before["value"]) == ("numbers", "+49301234000") and before["since"] < before["until"]
    times = {each["value"]: each for each in changed.json()["identities"]}
    assert times["+49301234000"]["until"] == times["+49301234999"]["since"]
    assert clean.ask(path, "privacy", method="DELETE").status_code == 409
    assert clean.ask(f"{path}/unmap", "privacy", method="POST").json()["state"] == "inactive"
    assert clean.ask(path, "privacy", method="PUT", json=ADA).json()["state"] == "active"  # back again


def test_who_was_made_a_moment_ago_is_found(clean):
    clean.run(clean.customers["acme"].correlation.load())
    user = clean.ask("/users", "privacy", method="POST", json={**ADA, "upn": "new@acme.example"}).json()
    found = clean.ask("/users?q=new@acme.example", "privacy").json()["items"]
    assert [each["id"] for each in found] == [user["id"]]


def test_a_users_unique_values_cannot_be_taken_by_another(clean):
    ada = clean.ask("/users", "privacy", method="POST", json=ADA).json()
    bob = clean.ask("/users", "privacy", method="POST", json={"upn": "bob@acme.example"}).json()
    taken = clean.ask(f"/users/{bob['id']}", "privacy", method="PUT", json={"upn": "ADA@acme.example"})
    assert taken.status_code == 409 and ada["id"] in taken.json()["detail"]
    renamed = clean.ask(f"/users/{bob['id']}", "privacy", method="PUT", json={"upn": "rob@acme.example"})
    assert renamed.json()["id"] == bob["id"]
    assert clean.ask("/users", "privacy", method="POST", json={"upn": "bob@acme.example"}).status_code == 201


def test_only_one_of_concurrent_user_creations_succeeds(clean):
    acme = clean.customers["acme"]
    with ThreadPoolExecutor(8) as crowd:
        made = list(crowd.map(lambda _: clean.ask("/users", "privacy", method="POST", json=ADA), range(8)))
    assert sorted(answer.status_code for answer in made) == [201, *[409] * 7]
    (user,) = clean.run(acme.users.listed(1000))[0]
    assert [act["outcome"] for act in clean.acts()[-8:]].count("done") == 1
    wanted = [{**ADA, "numbers": [f"+4930123{number}"]} for number in range(4000, 4008)]
    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(lambda each: clean.ask(f"/users/{user.id}", "privacy", method="PUT", json=each), wanted))
    changed = clean.run(acme.users.get(user.id))
    known = {*changed.person.numbers, *(former.value for former in changed.former)}
    assert known == {number for each in wanted for number in each["numbers"]}  # nothing that it was known by is lost


def test_an_imported_user_cannot_be_changed_here(clean):
    users = clean.customers["acme"].users

    async def imported(source):
        plan = await users.plan([Person(first_name=source, upn=f"{source}@acme.example")], source, whole=True)
        await users.carry_out(plan)

    for source, where in (("csv", "CSV"), ("entra", "Entra")):
        clean.run(imported(source))
        user = next(u for u in clean.ask("/users", "privacy").json()["items"] if u["source"] == source)
        answer = clean.ask(f"/users/{user['id']}", "privacy", method="PUT", json=ADA)
        assert answer.status_code == 409 and where in answer.json()["detail"]
    assert clean.ask(f"/users/{NOBODY}", "privacy", method="PUT", json=ADA).status_code == 404


def test_a_whole_list_says_who_is_there_and_who_has_left(clean):
    many = [{"first_name": f"P{n}", "last_name": "Acme", "account_name": f"p{n}"} for n in range(30)]
    first = clean.ask("/users", "privacy", method="PUT", json={"users": many})
    assert (first.status_code, first.json()["added"]) == (200, 30)
    one_less = clean.ask("/users", "privacy", method="PUT", json={"users": many[1:]})
    assert one_less.json() == {"added": 0, "changed": 0, "unmapped": 1, "unchanged": 29}
    broken = clean.ask("/users", "privacy", method="PUT", json={"users": many[:5]})
    assert broken.status_code == 409 and "25 of 29" in broken.json()["detail"]
    assert len(clean.ask("/users?state=active&limit=100", "privacy").json()["items"]) == 29
    meant = clean.ask("/users", "privacy", method="PUT", json={"users": many[:5], "accept": True})
    assert meant.json() == {"added": 0, "changed": 1, "unmapped": 25, "unchanged": 4}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, None),
        ({"first_name": "Ada"}, None),
        ({"upn": "  "}, "upn"),
        ({"upn": 7}, "upn"),
        ({"upn": "a" * 513}, "upn"),
        ({"upn": "a", "numbers": "030"}, "numbers"),
        ({"upn": "a", "numbers": [""]}, "numbers"),
        ({"upn": "a", "addresses": ["x"] * 51}, "addresses"),
        ({"upn": "a", "boss": "b"}, None),
        ([], None),
    ],
)
def test_an_invalid_user_body_names_its_faults(clean, body, name):
    for method, path in (("POST", "/users"), ("PUT", f"/users/{NOBODY}")):
        answer = clean.ask(path, "privacy", method=method, json=body)
        assert answer.status_code == 422
        assert name is None or answer.json()["errors"][0]["name"] == name
    listed = clean.ask("/users", "privacy", method="PUT", json={"users": [{"upn": "ok@x"}, body]})
    assert listed.status_code == 422 and listed.json()["errors"][0]["name"].startswith("users[1]")


@pytest.mark.parametrize(
    "body", [[], {}, {"users": {}}, {"users": [], "accept": "yes"}, {"users": [{"upn": "a"}, {"upn": "A "}]}]
)
def test_a_list_that_is_none(clean, body):
    assert clean.ask("/users", "privacy", method="PUT", json=body).status_code == 422


def test_a_list_is_bounded(clean):
    answer = clean.ask("/users", "privacy", method="PUT", content=b"[" + b" " * (4 << 20) + b"]")
    assert answer.status_code == 413


def test_user_changes_are_audited_without_names(clean):
    before = len(clean.acts())
    user = clean.ask("/users", "privacy", method="POST", json=ADA).json()
    clean.ask("/users", "privacy", method="POST", json=ADA)
    clean.ask(f"/users/{user['id']}", "privacy", method="PUT", json=ADA)
    clean.ask("/users", "privacy", method="PUT", json={"users": [ADA]})
    clean.ask("/users", "privacy", method="POST", json={"x": 1})
    clean.ask("/users", "listener", method="POST", json=ADA)
    acts = [(act["action"], act["outcome"], act["reason"]) for act in clean.acts()[before:]]
    assert acts == [
        ("user.create", "done", ""),
        ("user.create", "failed", "known already"),
        ("user.change", "done", ""),
        ("users.replace", "done", "0 added, 0 changed, 0 unmapped, 1 unchanged"),
        ("user.create", "refused", "not as described"),
        ("user.create", "refused", "role"),
    ]
    assert "Ada" not in str(clean.acts()[before:]) and "ada@" not in str(clean.acts()[before:])
