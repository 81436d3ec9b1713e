"""Digest authentication as an option (duty S28)."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.message.digest import NONCE_SECONDS, Outcome, Realm, challenges, judge
from sip.message.message import Request

SECRET, SOURCE, NOW = b"k" * 32, "192.0.2.1", 1_800_000_000.0
URI = "sip:rec@192.0.2.10"


def ha1(algorithm: str, password: str = "open sesame") -> str:
    return hashlib.new(algorithm.replace("-", ""), f"sbc:recorder:{password}".encode()).hexdigest()


REALM = Realm.parse(f"# SBCs\nsbc:recorder:{ha1('SHA-256')}\nsbc:recorder:{ha1('MD5')}\n")


def nonce(at: float = NOW, source: str = SOURCE) -> str:
    return challenges(REALM, SECRET, source, at)[0][1].split('nonce="')[1].partition('"')[0]


def answered(
    algorithm: str = "SHA-256",
    *,
    method: str = "INVITE",
    qop: bool = True,
    password: str = "open sesame",
    given: str | None = None,
    uri: str = URI,
    user: str = "sbc",
) -> Request:
    """Answer a challenge as RFC 8760 says, from its text and nothing else."""
    given = given or nonce()

    def digest(text: str) -> str:
        return hashlib.new(algorithm.replace("-", ""), text.encode()).hexdigest()

    ha2 = digest(f"{method}:{uri}")
    middle = f"{given}:00000001:c0ffee:auth:" if qop else f"{given}:"
    response = digest(f"{ha1(algorithm, password)}:{middle}{ha2}")
    value = f'Digest username="{user}", realm="recorder", nonce="{given}", uri="{uri}", response="{response}"'
    value += f", algorithm={algorithm}" + (', qop=auth, nc=00000001, cnonce="c0ffee"' if qop else "")
    request = Request(method, URI)
    request.headers.add("Authorization", value)
    return request


def test_a_challenge_names_sha_256_before_md5_s28() -> None:
    fields = challenges(REALM, SECRET, SOURCE, NOW)
    assert [name for name, _ in fields] == ["WWW-Authenticate"] * 2
    assert ["SHA-256" in fields[0][1], fields[1][1].endswith("algorithm=MD5")] == [True, True]
    assert challenges(REALM, SECRET, SOURCE, NOW, stale=True)[0][1].endswith("stale=true")


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
@pytest.mark.parametrize("qop", [True, False])
def test_the_right_answer_is_let_in_s28(algorithm: str, qop: bool) -> None:
    assert judge(answered(algorithm, qop=qop), REALM, SECRET, SOURCE, NOW + 3) is Outcome.RIGHT


def test_without_credentials_of_our_realm_they_are_asked_for() -> None:
    assert judge(Request("INVITE", URI), REALM, SECRET, SOURCE, NOW) is Outcome.MISSING
    other = Request("INVITE", URI)
    other.headers.add("Authorization", 'Digest username="sbc", realm="elsewhere"')
    other.headers.add("Authorization", "Basic c2JjOm9wZW4=")
    assert judge(other, REALM, SECRET, SOURCE, NOW) is Outcome.MISSING


@pytest.mark.parametrize(
    "request_",
    [
        answered(password="shut sesame"),
        answered(user="nobody"),
        answered(uri="sip:other@192.0.2.10"),
        answered(given=nonce(source="198.51.100.1"), password="shut sesame"),
        answered(given="0.forged", password="shut sesame"),
        answered("SHA-1"),
        Request("INVITE", URI, headers=answered(method="OPTIONS").headers),
    ],
)
def test_everything_else_is_wrong(request_: Request) -> None:
    assert judge(request_, REALM, SECRET, SOURCE, NOW) is Outcome.WRONG


def test_an_old_nonce_is_stale_not_wrong() -> None:
    assert judge(answered(), REALM, SECRET, SOURCE, NOW + NONCE_SECONDS + 1) is Outcome.STALE
    assert judge(answered(given=nonce(NOW + 900)), REALM, SECRET, SOURCE, NOW) is Outcome.STALE


@pytest.mark.parametrize("given", [nonce(source="198.51.100.1"), "0.forged", "of another process"])
def test_the_right_answer_to_a_nonce_that_is_not_ours_is_stale(given: str) -> None:
    """An earlier process gave it, or it was given to another address of the client; which asks for no other password.

    RFC 7616 section 3.3.
    """
    assert judge(answered(given=given), REALM, SECRET, SOURCE, NOW) is Outcome.STALE


@pytest.mark.parametrize("text", ["", "sbc", "sbc:recorder:zz", f"a:r:{'0' * 32}\nb:s:{'0' * 32}", f":r:{'0' * 32}"])
def test_a_file_of_users_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Realm.parse(text)


@given(st.text(max_size=300))
def test_any_authorization_is_judged_property(text: str) -> None:
    request = Request("INVITE", URI)
    request.headers.add("Authorization", "Digest " + text.replace("\r", " ").replace("\n", " "))
    assert judge(request, REALM, SECRET, SOURCE, NOW) in (Outcome.MISSING, Outcome.WRONG)
