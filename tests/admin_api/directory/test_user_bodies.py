"""People in bodies: read once, faults named together, nothing repeated."""

import json

from admin_api.directory.user_bodies import UserRequest, UsersRequest
from admin_api.http import reading
from storage.directory.user import Person

ADA = {"first_name": " Ada ", "upn": "ada@x.example", "numbers": ["+491", "+491", " +492 "], "email": None}


def test_a_person_is_read() -> None:
    found = reading.read(UserRequest, json.dumps(ADA).encode())
    assert found.person == Person(first_name="Ada", upn="ada@x.example", numbers=("+491", "+492"))


def test_a_whole_list_is_read() -> None:
    found = reading.read(UsersRequest, json.dumps({"users": [ADA, {"account_name": "b"}], "accept": True}).encode())
    assert [each.person.key for each in found.users] == ["ada@x.example", "b"] == [
        each.key for each in found.users
    ] and found.accept
    assert "ada" not in repr(found)
