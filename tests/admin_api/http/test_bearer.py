"""Whose token it is."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from admin_api.http.bearer import bearer, find
from storage.access.api_tokens import FILE_NAME, Credentials

NOW = datetime(2026, 2, 3, tzinfo=UTC)


class Holder:
    """Of a customer only the tokens matter here; counts how often they are asked."""

    def __init__(self, folder, name):
        folder.mkdir()
        self.name, self.tokens, self.times = name, Credentials(folder, name), 0

    @property
    def credentials(self):
        self.times += 1
        return self.tokens


def two(tmp_path):
    return {name: Holder(tmp_path / name, name) for name in ("acme", "beta")}


def header(*values):
    return [(b"host", b"x"), *((b"authorization", value) for value in values)]


def test_the_one_token_of_a_request():
    assert bearer(header(b"Bearer abc")) == "abc"
    assert bearer(header(b"bEARER  abc ")) == "abc"


def test_an_invalid_authorization_header_has_no_token():
    for values in ((), (b"abc",), (b"Basic abc",), (b"Bearer",), (b"Bearer ",), (b"Bearer a", b"Bearer b")):
        assert bearer(header(*values)) is None
    assert bearer(header(b"Bearer " + b"x" * 10_000)) is None


@given(st.binary())
def test_any_header_is_read(value):
    token = bearer(header(value))
    assert token is None or token


def test_a_token_is_found_and_every_customer_was_asked(tmp_path):
    customers = two(tmp_path)
    token = customers["acme"].tokens.create("desk", ["listener"], NOW).token
    found = find(customers, token, "192.0.2.1", NOW, lambda error: None)
    assert (found.customer.name, found.name, found.roles, found.source) == ("acme", "desk", ("listener",), "192.0.2.1")
    assert [holder.times for holder in customers.values()] == [1, 1]


def test_wrong_revoked_and_expired_tokens(tmp_path):
    customers = two(tmp_path)
    tokens = customers["beta"].tokens
    old = tokens.create("old", ["admin"], NOW, NOW + timedelta(hours=1)).token
    gone = tokens.create("gone", ["admin"], NOW).token
    tokens.revoke("gone")
    later = NOW + timedelta(hours=1)
    assert [find(customers, t, "", later, lambda error: None) for t in (old, gone, "wrong", "é")] == [None] * 4


def test_a_damaged_file_locks_out_its_own_customer_only(tmp_path):
    customers, failed = two(tmp_path), []
    token = customers["beta"].tokens.create("desk", ["admin"], NOW).token
    (tmp_path / "acme" / FILE_NAME).write_bytes(b"{")
    assert find(customers, token, "", NOW, failed.append).customer.name == "beta"
    assert len(failed) == 1
