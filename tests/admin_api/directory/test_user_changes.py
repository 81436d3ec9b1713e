"""Users of a customer without a directory: made, changed and listed whole through the API; others change elsewhere."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from admin_api.directory.user_changes import UserRequest, UsersRequest
from admin_api.http import reading
from storage.directory.user import Person

ADA = {"first_name": "Ada", "last_name": "Acme", "upn": "ada@acme.example", "numbers": ["+49301234000"]}
BARE = {"first_name": " Ada ", "upn": "ada@x.example", "numbers": ["+491", "+491", " +492 "], "email": None}
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


def ask(service, method, path="", body=ADA, role="privacy"):
    return service.ask(f"/users{path}", role, method=method, **({"json": body} if method in ("POST", "PUT") else {}))


def test_one_is_made_changed_and_gone(clean):
    clean.run(clean.customers["acme"].user_matcher.load())
    made = ask(clean, "POST")
    user = made.json()
    assert (made.status_code, user["source"], user["state"], user["numbers"]) == (201, "api", "active", ADA["numbers"])
    assert [each["id"] for each in ask(clean, "GET", "?q=ada@acme.example").json()["items"]] == [user["id"]]
    again = ask(clean, "POST")
    assert again.status_code == 409 and user["id"] in again.json()["detail"]
    path = f"/{user['id']}"
    changed = ask(clean, "PUT", path, {**ADA, "numbers": ["+49301234999"]}, "admin").json()
    assert changed["numbers"] == ["+49301234999"]
    assert [(each["kind"], each["value"]) for each in changed["former"]] == [("numbers", "+49301234000")]
    assert ask(clean, "DELETE", path).status_code == 409
    assert ask(clean, "POST", f"{path}/unmap", None).json()["state"] == "inactive"
    assert ask(clean, "PUT", path).json()["state"] == "active"  # back again


def test_a_users_unique_values_cannot_be_taken_by_another(clean):
    ada, bob = ask(clean, "POST").json(), ask(clean, "POST", body={"upn": "bob@acme.example"}).json()
    taken = ask(clean, "PUT", f"/{bob['id']}", {"upn": "ADA@acme.example"})
    assert taken.status_code == 409 and ada["id"] in taken.json()["detail"]
    assert ask(clean, "PUT", f"/{bob['id']}", {"upn": "rob@acme.example"}).json()["id"] == bob["id"]
    assert ask(clean, "POST", body={"upn": "bob@acme.example"}).status_code == 201


def test_only_one_of_concurrent_user_creations_succeeds(clean):
    users = clean.customers["acme"].users
    wanted = [{**ADA, "numbers": [f"+4930123{number}"]} for number in range(4000, 4008)]
    with ThreadPoolExecutor(8) as crowd:
        made = list(crowd.map(lambda _: ask(clean, "POST").status_code, wanted))
        assert sorted(made) == [201, *[409] * 7]
        (user,) = clean.run(users.listed(1000))[0]
        assert [act["outcome"] for act in clean.acts()[-8:]].count("done") == 1
        list(crowd.map(lambda each: ask(clean, "PUT", f"/{user.id}", each), wanted))
    changed = clean.run(users.get(user.id))
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
    assert ask(clean, "PUT", body={"users": many}).json()["added"] == 30
    one_less = ask(clean, "PUT", body={"users": many[1:]})
    assert one_less.json() == {"added": 0, "changed": 0, "unmapped": 1, "unchanged": 29}
    broken = ask(clean, "PUT", body={"users": many[:5]})
    assert broken.status_code == 409 and "25 of 29" in broken.json()["detail"]
    assert len(ask(clean, "GET", "?state=active&limit=100").json()["items"]) == 29
    meant = ask(clean, "PUT", body={"users": many[:5], "accept": True})
    assert meant.json() == {"added": 0, "changed": 1, "unmapped": 25, "unchanged": 4}


FAULTY = (
    ({}, None), ({"first_name": "Ada"}, None), ({"upn": "  "}, "upn"), ({"upn": 7}, "upn"), ({"upn": "a" * 513}, "upn"),
    ({"upn": "a", "numbers": "030"}, "numbers"), ({"upn": "a", "numbers": [""]}, "numbers"),
    ({"upn": "a", "addresses": ["x"] * 51}, "addresses"), ({"upn": "a", "boss": "b"}, None), ([], None),
)  # fmt: skip


def test_an_invalid_user_body_names_its_faults(clean):
    for body, name in FAULTY:
        for method, path in (("POST", ""), ("PUT", f"/{NOBODY}")):
            answer = ask(clean, method, path, body)
            assert answer.status_code == 422
            assert name in (None, answer.json()["errors"][0].get("name"))
        listed = ask(clean, "PUT", body={"users": [{"upn": "ok@x"}, body]})
        assert listed.status_code == 422 and listed.json()["errors"][0]["name"].startswith("users[1]")
    for body in ([], {}, {"users": {}}, {"users": [], "accept": "yes"}, {"users": [{"upn": "a"}, {"upn": "A "}]}):
        assert ask(clean, "PUT", body=body).status_code == 422
    assert clean.ask("/users", "privacy", method="PUT", content=b"[" + b" " * (4 << 20) + b"]").status_code == 413


def test_user_changes_are_audited_without_names(clean):
    before = len(clean.acts())
    id = ask(clean, "POST").json()["id"]
    ask(clean, "POST")
    ask(clean, "PUT", f"/{id}")
    ask(clean, "PUT", body={"users": [ADA]})
    ask(clean, "POST", body={"x": 1})
    ask(clean, "POST", role="listener")
    acts = clean.acts()[before:]
    assert [(act["action"], act["outcome"], act["reason"]) for act in acts] == [
        ("user.create", "done", ""),
        ("user.create", "failed", "known already"),
        ("user.change", "done", ""),
        ("users.replace", "done", "0 added, 0 changed, 0 unmapped, 1 unchanged"),
        ("user.create", "refused", "not as described"),
        ("user.create", "refused", "role"),
    ]
    assert "Ada" not in str(acts) and "ada@" not in str(acts)


def test_a_person_is_read() -> None:
    found = reading.read(UserRequest, json.dumps(BARE).encode())
    assert found.person == Person(first_name="Ada", upn="ada@x.example", numbers=("+491", "+492"))


def test_a_whole_list_is_read() -> None:
    found = reading.read(UsersRequest, json.dumps({"users": [BARE, {"account_name": "b"}], "accept": True}).encode())
    assert [each.person.key for each in found.users] == ["ada@x.example", "b"] == [
        each.key for each in found.users
    ] and found.accept
    assert "ada" not in repr(found)
