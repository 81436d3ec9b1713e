"""An account as a document and back, and when two names are one."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from storage.access.account import MAX_PLACES, PLACE_LASTS, Account, Invitation, Passkey, Place, canonical

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
    places=(Place("33" * 16, NOW),),
    addresses=(Place("44" * 16, NOW),),
)


@pytest.mark.parametrize("account", [PLAIN, FULL])
def test_a_document_holds_everything(account: Account) -> None:
    assert Account.parse(account.id, json.loads(json.dumps(account.document()))) == account


@pytest.mark.parametrize("member", sorted(set(PLAIN.document()) - {"places", "addresses"}))
def test_a_document_that_lacks_something_is_none(member: str) -> None:
    found = PLAIN.document()
    del found[member]
    with pytest.raises(KeyError):
        Account.parse("a" * 16, found)


def test_a_document_of_before_places_were_kept_has_none() -> None:
    found = FULL.document()
    del found["places"], found["addresses"]
    parsed = Account.parse(FULL.id, found)
    assert parsed.places == parsed.addresses == ()


def test_a_network_is_known_for_half_a_year_and_stored_hashed() -> None:
    seen = PLAIN.seen_at("192.0.2.0/24", "192.0.2.7", NOW)
    assert seen.usual("192.0.2.0/24", NOW + PLACE_LASTS)
    assert not seen.usual("192.0.2.0/24", NOW + PLACE_LASTS + timedelta(seconds=1))
    assert not seen.usual("192.0.3.0/24", NOW)
    assert not PLAIN.usual("192.0.2.0/24", NOW)
    assert seen.usual("192.0.2.7", NOW + PLACE_LASTS)
    assert not seen.usual("192.0.2.8", NOW)
    assert "192.0.2" not in json.dumps(seen.document())
    assert seen.places[0].digest != FULL.seen_at("192.0.2.0/24", "192.0.2.7", NOW).places[-1].digest
    assert len(seen.places[0].digest) == 32


def test_the_oldest_of_many_networks_go_and_those_of_long_ago() -> None:
    account = PLAIN
    for number in range(MAX_PLACES + 3):
        account = account.seen_at(f"10.0.{number}.0/24", f"10.0.{number}.1", NOW + timedelta(days=number))
    account = account.seen_at("10.0.3.0/24", "10.0.3.1", NOW + timedelta(days=20))
    assert len(account.places) == len(account.addresses) == MAX_PLACES
    elsewhere = account.seen_at("10.0.3.0/24", "10.0.3.2", NOW + timedelta(days=20))
    assert elsewhere.places == account.places, "new addresses of one network take the place of no other network"
    assert [n for n in range(MAX_PLACES + 3) if account.usual(f"10.0.{n}.0/24", NOW + timedelta(days=20))] == list(
        range(3, MAX_PLACES + 3)
    )
    late = account.seen_at("10.9.9.0/24", "10.9.9.1", NOW + PLACE_LASTS + timedelta(days=30))
    assert len(late.places) == len(late.addresses) == 1


def test_the_repr_of_an_account_hides_secrets_and_names() -> None:
    shown = repr(FULL)
    assert not any(
        secret in shown for secret in ("argon2id", "JBSWY3DP", "11" * 32, "00" * 32, "ben", "laptop", "'bb'")
    )


def test_a_change_that_ends_sessions_shows_in_the_stamp() -> None:
    changed = FULL.ended(roles=("admin",), totp=None)
    assert (changed.stamp, changed.roles) == (8, ("admin",))
    assert changed.second_factor and FULL.second_factor and not PLAIN.second_factor, "an app or a passkey"


def test_a_name_as_long_as_a_book_is_not_normalised_whole() -> None:
    accents = "a" + "\u0301\u0316" * 20_000  # each pair is put into order: the square of their number
    assert canonical(accents) == canonical(accents[:2000])
