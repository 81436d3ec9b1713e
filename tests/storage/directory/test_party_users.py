"""Parties get the users whom they were, and calls the forms that users are found by."""

from typing import Any

from storage.directory import party_users
from tests.storage.directory.test_user_lookup import ANNA, BERT, day, id_of, user, who

KNOWN = who(user(1, ANNA), user(2, BERT))
CALL: list[Any] = [
    {"number": "+4930111111", "role": "caller"},
    {"number": "+4930999999"},
    {"number": None, "uri": None},
]


def test_a_match_stays_unless_contradicted() -> None:
    party: Any = {"number": "+4930999999", "user_id": id_of(1)}
    assert party_users.told(KNOWN, [party], day(5))[0]["user_id"] == id_of(1)
    gone = who(user(1, ANNA, gone=4))
    hers: Any = {**party, "number": "+4930111111"}
    assert party_users.told(gone, [hers], day(5))[0]["user_id"] is None
    assert party_users.told(who(), [party], day(5))[0]["user_id"] is None


def test_forms_of_users_come_and_go_and_the_others_stay() -> None:
    before: list[Any] = [{"user_id": id_of(1)}, {"user_candidates": [id_of(3)]}]
    now: list[Any] = [{"user_id": None, "user_candidates": [id_of(1), id_of(2)]}, {"user_id": id_of(3)}]
    had = ("e:+4930111111", f"u:{id_of(1)}", f"k:{id_of(3)}", "w:anna")
    assert party_users.forms(had, before, now) == (
        "e:+4930111111",
        "w:anna",
        f"k:{id_of(1)}",
        f"k:{id_of(2)}",
        f"u:{id_of(3)}",
    )


def test_a_null_user_equals_a_missing_member() -> None:
    assert party_users.same([{}], [{"user_id": None, "user_candidates": []}])
    assert not party_users.same([{}], [{"user_id": id_of(1), "user_candidates": []}])
    assert not party_users.named([{}, {"user_id": None, "user_candidates": []}])
    assert party_users.named([{}, {"user_candidates": [id_of(1)]}])
