"""Accounts are sealed, known to every process at once, and gone from every copy once they are removed."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.access.account import Account
from storage.access.accounts import FILE_NAME, INVITATION, Accounts, AccountsError
from storage.errors import DiskFailed
from storage.keys.key_store import CustomerKeys
from tests.in_process.storage_node import ROOT

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(keys: CustomerKeys, tmp_path: Path) -> Path:
    return tmp_path / "customers" / "acme"


@pytest.fixture
def accounts(folder: Path, keys: CustomerKeys) -> Accounts:
    return Accounts(folder, "acme", keys)


def test_a_new_account_has_no_password(accounts: Accounts) -> None:
    made = accounts.create("Anna Schmidt", ["listener", "listener", "privacy"], NOW)
    found = accounts.named(" anna  SCHMIDT ")
    assert found == made.account == accounts.get(made.account.id) == accounts.all()[0]
    assert found.roles == ("listener", "privacy")
    assert found.password is None
    assert accounts.named("ben") is None


def test_only_the_newest_link_leads_to_its_account_for_an_hour(accounts: Accounts) -> None:
    first = accounts.create("anna", ["admin"], NOW)
    made = accounts.invite(first.account.id, NOW)
    assert accounts.invited(made.secret, NOW + INVITATION - timedelta(seconds=1)) == made.account
    assert accounts.invited(made.secret, NOW + INVITATION) is None
    for wrong in (first.secret, "", "0" * 64, made.secret + "0", made.secret.upper(), "\ud800"):
        assert accounts.invited(wrong, NOW) is None
    accounts.change(made.account.id, lambda a: a.ended(disabled=True))
    assert accounts.invited(made.secret, NOW) is None


def test_a_new_link_keeps_second_factors_unless_they_are_lost(accounts: Accounts) -> None:
    id = accounts.create("anna", ["admin"], NOW).account.id
    accounts.change(id, lambda a: replace(a, totp="JBSWY3DP", recovery=("00",)))
    kept = accounts.invite(id, NOW).account
    assert (kept.totp, kept.stamp) == ("JBSWY3DP", 0)
    gone = accounts.invite(id, NOW, factors=True).account
    assert (gone.totp, gone.recovery, gone.stamp) == (None, (), 1)


def test_nothing_of_an_account_shows_on_the_disk(accounts: Accounts, folder: Path) -> None:
    made = accounts.create("Mirabella Ößling", ["privacy"], NOW)
    accounts.change(made.account.id, lambda a: replace(a, password="$argon2id$v=19$secret", totp="JBSWY3DP"))
    data = (folder / FILE_NAME).read_bytes()
    for planted in ("Mirabella", "Ößling", "argon2id", "JBSWY3DP", made.secret, "privacy"):
        assert planted.encode() not in data
    assert os.stat(folder / FILE_NAME).st_mode & 0o777 == 0o600


def test_a_removed_account_is_gone_from_a_copy_of_the_file_too(
    accounts: Accounts, folder: Path, keys: CustomerKeys
) -> None:
    anna, ben = accounts.create("anna", ["admin"], NOW).account, accounts.create("ben", ["admin"], NOW).account
    shutil.copy(folder / FILE_NAME, folder / "copy")
    assert accounts.remove(anna.id)
    assert not accounts.remove(anna.id)
    assert accounts.all() == (ben,)
    shutil.copy(folder / "copy", folder / FILE_NAME)
    assert Accounts(folder, "acme", keys).all() == (ben,)


def test_other_processes_see_a_change_at_once(accounts: Accounts, folder: Path, tmp_path: Path) -> None:
    daemon = Accounts(folder, "acme", CustomerKeys.open(tmp_path / "keys", folder, "acme", ROOT))
    made = accounts.create("anna", ["admin"], NOW)
    assert daemon.get(made.account.id) == made.account
    accounts.change(made.account.id, lambda a: a.ended(roles=("listener",)))
    before = os.stat(folder / FILE_NAME).st_ino
    accounts.change(made.account.id, lambda a: a)
    assert os.stat(folder / FILE_NAME).st_ino == before, "nothing is written where nothing changes"
    assert daemon.get(made.account.id).roles == ("listener",)
    accounts.remove(made.account.id)
    assert daemon.get(made.account.id) is None


def test_concurrent_account_creations_are_all_kept(accounts: Accounts, folder: Path, tmp_path: Path) -> None:
    def make(i: int) -> None:
        keys = CustomerKeys.open(tmp_path / "keys", folder, "acme", ROOT)
        Accounts(folder, "acme", keys).create(f"a{i}", ["admin"], NOW)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, range(24)))
    assert sorted(a.name for a in accounts.all()) == sorted(f"a{i}" for i in range(24))
    assert len(set(accounts.leaves())) == 24


@pytest.mark.parametrize(
    ("name", "roles"), [("", ["admin"]), ("a" * 65, ["admin"]), ("a\nb", ["admin"]), ("anna", []), ("anna", ["king"])]
)
def test_an_account_with_invalid_name_or_roles_is_refused(accounts: Accounts, name: str, roles: list[str]) -> None:
    with pytest.raises(AccountsError):
        accounts.create(name, roles, NOW)
    assert accounts.all() == ()


def test_what_cannot_be_changed_or_made_is_refused(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AccountsError, match="no longer exists"):
        accounts.change("0" * 16, Account.ended)
    accounts.create("anna", ["admin"], NOW)
    with pytest.raises(AccountsError, match="of that name"):
        accounts.create("ANNA", ["listener"], NOW)
    monkeypatch.setattr("storage.access.accounts.MAX_ACCOUNTS", 1)
    with pytest.raises(AccountsError, match="too many"):
        accounts.create("ben", ["admin"], NOW)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text, id: "",
        lambda text, id: "{",
        lambda text, id: '{"accounts": [1]}',
        lambda text, id: '{"accounts": [{"id": "a", "leaf": "fffe00000001", "sealed": "AAAA"}]}',
        lambda text, id: "[" * 9999,
        lambda text, id: text.replace(id, "0" * 16),
    ],
)
def test_a_damaged_file_says_so(accounts: Accounts, folder: Path, damage: Callable[[str, str], str]) -> None:
    id = accounts.create("anna", ["admin"], NOW).account.id
    (folder / FILE_NAME).write_text(damage((folder / FILE_NAME).read_text(), id))
    with pytest.raises(AccountsError, match="cannot be read"):
        accounts.all()


def test_unreadable_accounts_are_a_disk_failure(accounts: Accounts, folder: Path) -> None:
    (folder / FILE_NAME).symlink_to(FILE_NAME)
    with pytest.raises(DiskFailed, match="could not look at the accounts: ELOOP"):
        accounts.all()


def test_no_account_name_looks_like_another(accounts: Accounts) -> None:
    for name in ("recorder", "cli:root", "аnna", "system:x", "an\u200bna"):
        with pytest.raises(AccountsError):
            accounts.create(name, ["admin"], NOW)
    anna = accounts.create("anna", ["admin"], NOW, ["nightly"]).account
    for name in ("аппа", "ANNA", "nightIy", "Nightly"):
        with pytest.raises(AccountsError):
            accounts.create(name, ["admin"], NOW, ["nightly"])
    assert accounts.all() == (anna,)
    assert accounts.like("АNNА") == anna
    assert accounts.named("АNNА") is None, "one signs in with one's own name alone"
