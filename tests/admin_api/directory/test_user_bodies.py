"""People in bodies: read once, faults named together, nothing repeated."""

import json

import pytest

from admin_api.directory import user_bodies
from admin_api.http.problems import Problem
from storage.directory.user import Person

ADA = {"first_name": " Ada ", "upn": "ada@x.example", "numbers": ["+491", "+491", " +492 "], "email": None}


def test_a_person_is_read() -> None:
    found = user_bodies.one(json.dumps(ADA).encode())
    assert found == Person(first_name="Ada", upn="ada@x.example", numbers=("+491", "+492"))


def test_all_faults_of_a_user_are_named_without_values() -> None:
    with pytest.raises(Problem) as raised:
        user_bodies.one(json.dumps({"upn": 7, "numbers": "secret", "addresses": ["x"] * 51}).encode())
    told = json.dumps(raised.value.document())
    assert all(name in told for name in ("upn", "numbers", "addresses")) and "secret" not in told


def test_a_whole_list_is_read() -> None:
    found = user_bodies.everybody(json.dumps({"users": [ADA, {"account_name": "b"}], "accept": True}).encode())
    assert [person.key for person in found.people] == ["ada@x.example", "b"] and found.accept
    assert "ada" not in repr(found)


def test_the_faulty_entry_of_a_list_is_named() -> None:
    with pytest.raises(Problem) as raised:
        user_bodies.everybody(json.dumps({"users": [ADA, {"upn": "ADA@x.example"}]}).encode())
    assert "users[1]" in json.dumps(raised.value.document())
