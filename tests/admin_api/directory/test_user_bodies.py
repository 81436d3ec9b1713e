"""People in bodies: read once, faults named together, nothing repeated."""

import json

import pytest

from admin_api.directory.user_bodies import UserRequest, UsersRequest
from admin_api.http import reading
from admin_api.http.problems import Problem
from storage.directory.user import Person

ADA = {"first_name": " Ada ", "upn": "ada@x.example", "numbers": ["+491", "+491", " +492 "], "email": None}


def test_a_person_is_read() -> None:
    found = reading.read(UserRequest, json.dumps(ADA).encode())
    assert found.person == Person(first_name="Ada", upn="ada@x.example", numbers=("+491", "+492"))


def test_all_faults_of_a_user_are_named_without_values() -> None:
    with pytest.raises(Problem) as raised:
        reading.read(UserRequest, json.dumps({"upn": 7, "numbers": "secret", "addresses": ["x"] * 51}).encode())
    told = json.dumps(raised.value.document())
    assert all(name in told for name in ("upn", "numbers", "addresses")) and "secret" not in told


def test_a_whole_list_is_read() -> None:
    found = reading.read(UsersRequest, json.dumps({"users": [ADA, {"account_name": "b"}], "accept": True}).encode())
    assert [each.person.key for each in found.users] == ["ada@x.example", "b"] == [
        each.key for each in found.users
    ] and found.accept
    assert "ada" not in repr(found)


def test_the_faulty_entry_of_a_list_is_named() -> None:
    with pytest.raises(Problem) as raised:
        reading.read(UsersRequest, json.dumps({"users": [ADA, {"upn": "ADA@x.example"}]}).encode())
    assert "users[1]" in json.dumps(raised.value.document())
