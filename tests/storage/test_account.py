"""An account as a document and back, and when two names are one."""

import json
from datetime import UTC, datetime

import pytest

from storage.account import Account, Invitation, Passkey, canonical
from storage.actors import proper

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = Account("a" * 16, "Mira Ößling", ("admin",), NOW)
FULL = Account(
    "b" * 16,
    "ben",
    ("listener", "approver"),
    NOW,
    stamp=7,
    password="$argon2id$x",
    invitation=Invitation("00" * 32, NOW),
    totp="JBSWY3DP",
    totp_step=5,
    recovery=("11" * 32,),
    passkeys=(Passkey("aa", "bb", "laptop", NOW, 3),),
    signed_in_at=NOW,
    disabled=True,
)


@pytest.mark.parametrize("account", [PLAIN, FULL])
def test_a_document_holds_everything(account: Account) -> None:
    assert Account.parse(account.id, json.loads(json.dumps(account.document()))) == account


@pytest.mark.parametrize("member", sorted(PLAIN.document()))
def test_a_document_that_lacks_something_is_none(member: str) -> None:
    found = PLAIN.document()
    del found[member]
    with pytest.raises(KeyError):
        Account.parse("a" * 16, found)


def test_nothing_secret_or_personal_can_be_printed_by_accident() -> None:
    shown = repr(FULL)
    assert not any(
        secret in shown for secret in ("argon2id", "JBSWY3DP", "11" * 32, "00" * 32, "ben", "laptop", "'bb'")
    )


def test_a_second_factor_is_an_app_or_a_passkey() -> None:
    assert FULL.second_factor
    assert not PLAIN.second_factor
    assert FULL.ended(totp=None).second_factor


def test_a_change_that_ends_sessions_shows_in_the_stamp() -> None:
    changed = FULL.ended(roles=("admin",))
    assert (changed.stamp, changed.roles) == (8, ("admin",))


@pytest.mark.parametrize("other", ["ANNA", " anna ", "ａｎｎａ"])
def test_spellings_that_look_the_same_are_one_name(other: str) -> None:
    assert canonical(other) == canonical("anna")


@pytest.mark.parametrize("name", ["", "  ", "a" * 65, "a\nb", "a\x00b"])
def test_what_cannot_be_a_name(name: str) -> None:
    assert not proper(name)
    assert proper("Anna Schmidt")


def test_a_name_as_long_as_a_book_is_not_normalised_whole() -> None:
    accents = "a" + "\u0301\u0316" * 20_000  # each pair is put into order: the square of their number
    assert canonical(accents) == canonical(accents[:2000])
