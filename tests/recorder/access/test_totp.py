"""Codes of an authenticator app as RFC 6238 has them, each taken once."""

from __future__ import annotations

import base64
import os

import pytest

from recorder.access import totp

RFC = base64.b32encode(b"12345678901234567890").decode()
NOW = 1_111_111_109.0


@pytest.mark.parametrize(
    ("at", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_the_vectors_of_the_rfc(at: int, code: str) -> None:
    """Appendix B, of whose eight digits the last six are ours."""
    assert totp.code_at(RFC, at // 30) == code
    assert totp.step_of(RFC, code, at, 0) == at // 30


def test_a_code_is_right_one_step_early_or_late_and_no_longer() -> None:
    step = int(NOW) // 30
    for off in (-1, 0, 1):
        assert totp.step_of(RFC, totp.code_at(RFC, step + off), NOW, 0) == step + off
    for off in (-2, 2):
        assert totp.step_of(RFC, totp.code_at(RFC, step + off), NOW, 0) is None


def test_no_step_is_taken_twice_and_none_before_it() -> None:
    step = int(NOW) // 30
    assert totp.step_of(RFC, totp.code_at(RFC, step), NOW, step) is None
    assert totp.step_of(RFC, totp.code_at(RFC, step - 1), NOW, step) is None
    assert totp.step_of(RFC, totp.code_at(RFC, step + 1), NOW, step) == step + 1


@pytest.mark.parametrize("typed", ["", "08180", "0818044", "081 805", "\ud800", "０８１８０４"])
def test_an_invalid_totp_code_is_refused(typed: str) -> None:
    assert totp.step_of(RFC, typed, NOW, 0) is None
    assert totp.step_of(RFC, "081 804", NOW, 0) is not None


def test_the_link_holds_names_that_hold_anything() -> None:
    assert totp.link("ABC", "Recorder", "a&b: ?#é") == (
        "otpauth://totp/Recorder:a%26b%3A%20%3F%23%C3%A9?secret=ABC&issuer=Recorder"
    )


def test_secrets_differ_and_have_160_bits() -> None:
    one, other = totp.new_secret(os.urandom), totp.new_secret(os.urandom)
    assert one != other
    assert len(base64.b32decode(one)) == 20


def test_a_recovery_code_is_good_once_however_it_is_typed() -> None:
    codes = totp.new_recovery_codes(os.urandom)
    assert len(set(codes)) == 10
    kept = tuple(totp.recovery_digest(code) for code in codes)
    left = totp.without(kept, f" {codes[3].upper().replace('-', ' ')} ")
    assert left == kept[:3] + kept[4:]
    assert totp.without(left, codes[3]) is None
    assert totp.without((), codes[0]) is None
    assert totp.without(kept, "") is None
