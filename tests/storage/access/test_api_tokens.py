"""Tokens are shown once, kept hashed, and known to every process at once."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.access.api_tokens import FILE_NAME, Credentials, CredentialsError, NameTaken, digest
from storage.errors import DiskFailed

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def tokens(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path, "acme")


def test_a_token_says_whose_it_is_and_what_it_may_do(tokens: Credentials, tmp_path: Path) -> None:
    made = tokens.create("alice", ["listener", "privacy"], NOW, NOW + timedelta(hours=1))
    found = tokens.check(made.token, NOW + timedelta(minutes=59))
    assert found == made.credential
    assert (found.customer, found.name, found.roles) == ("acme", "alice", ("listener", "privacy"))
    assert tokens.check(made.token, NOW + timedelta(hours=1)) is None
    assert Credentials(tmp_path, "beta").check(made.token, NOW) is None
    other = tokens.create("alice", ["admin"], NOW).token
    assert other != made.token
    for wrong in (other + "x", "", "\ud800"):
        assert tokens.check(wrong, NOW) is None


def test_only_the_hash_is_kept_and_only_we_may_read_it(tokens: Credentials, tmp_path: Path) -> None:
    token, made = tokens.create("alice", ["admin"], NOW)
    text = (tmp_path / FILE_NAME).read_text()
    assert token not in text
    assert token.removeprefix("rec_") not in text
    assert json.loads(text)["tokens"][0]["sha256"] == digest("acme", token) == made.digest
    assert os.stat(tmp_path / FILE_NAME).st_mode & 0o777 == 0o600


def test_revoking_by_name_or_id_counts_at_once_everywhere(tokens: Credentials, tmp_path: Path) -> None:
    daemon = Credentials(tmp_path, "acme")
    made = [tokens.create(name, ["admin"], NOW) for name in ("a", "b", "a", "b")]
    assert all(daemon.check(token, NOW) for token, _ in made)
    for word, count, left in (("a", 2, "bb"), ("a", 0, "bb"), (made[3].credential.id, 1, "b")):
        assert tokens.revoke(word) == count
        assert [each.name for each in daemon.list()] == [*left]
    assert [daemon.check(token, NOW) is not None for token, _ in made] == [False, True, False, False]


@pytest.mark.parametrize(
    ("name", "roles"),
    [("", ["admin"]), (" ", ["admin"]), ("x" * 65, ["admin"]), ("a\nb", ["admin"]), ("a", []), ("a", ["root"])],
)
def test_an_invalid_name_or_role_is_refused(tokens: Credentials, name: str, roles: list[str]) -> None:
    with pytest.raises(CredentialsError):
        tokens.create(name, roles, NOW)
    assert tokens.list() == ()


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"tokens": [{}]}', b'{"tokens": [1]}', b"\xff"])
def test_a_damaged_token_file_admits_nobody_and_is_kept(tokens: Credentials, tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    with pytest.raises(CredentialsError):
        tokens.check("rec_x", NOW)
    with pytest.raises(CredentialsError):
        tokens.create("a", ["admin"], NOW)
    assert (tmp_path / FILE_NAME).read_bytes() == data


def test_unreadable_tokens_are_a_disk_failure(tokens: Credentials, tmp_path: Path) -> None:
    token, _ = tokens.create("a", ["admin"], NOW)
    (tmp_path / FILE_NAME).unlink()
    (tmp_path / FILE_NAME).symlink_to(FILE_NAME)
    with pytest.raises(DiskFailed, match="could not look at the tokens: ELOOP"):
        tokens.check(token, NOW)


def test_no_token_name_looks_like_another(tokens: Credentials) -> None:
    for name in ("recorder", "CLI:root", "rеcorder", "anna\u202e"):
        with pytest.raises(CredentialsError):
            tokens.create(name, ["admin"], NOW)
    with pytest.raises(NameTaken):
        tokens.create("Anna", ["admin"], NOW, taken=["anna"])
    tokens.create("desk1", ["admin"], NOW)
    tokens.create("desk1", ["admin"], NOW)  # a successor, while the one before is still out
    with pytest.raises(NameTaken):
        tokens.create("deskl", ["admin"], NOW)
    assert [each.name for each in tokens.list()] == ["desk1", "desk1"]


def test_a_token_of_a_person_acts_as_the_account_does(tokens: Credentials, tmp_path: Path) -> None:
    token, made = tokens.create("nightly", ["admin"], NOW, account="a1")
    found = Credentials(tmp_path, "acme").check(token, NOW)
    assert (found.actor.kind, found.actor.id, found.actor.identity) == ("token", made.id, "account:a1")
    other = tokens.create("weekly", ["admin"], NOW).credential
    assert other.actor.identity == f"token:{other.id}"


def test_tokens_of_earlier_versions_have_no_account(tokens: Credentials, tmp_path: Path) -> None:
    token, made = tokens.create("desk", ["admin"], NOW)
    file = tmp_path / FILE_NAME
    assert "account" not in json.loads(file.read_text())["tokens"][0]
    file.write_text(file.read_text().replace('"desk"', '"recorder"'))
    found = Credentials(tmp_path, "acme").check(token, NOW)
    assert (found.name, found.actor.identity) == ("recorder", f"token:{made.id}")
