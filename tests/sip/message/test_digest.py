"""Digest authentication as an option (duty S28)."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.message import digest
from sip.message.digest import FREE_WRONG, LONGEST_DELAY, NONCE_SECONDS, Authenticator, Outcome, Realm
from sip.message.message import Request

SECRET, SOURCE, NOW = b"k" * 32, "192.0.2.1", 1_800_000.0
URI = "sip:rec@192.0.2.10"


def ha1(algorithm: str, password: str = "open sesame") -> str:
    return hashlib.new(algorithm.replace("-", ""), f"sbc:recorder:{password}".encode()).hexdigest()


REALM = Realm.parse(f"# SBCs\nsbc:recorder:{ha1('SHA-256')}\nsbc:recorder:{ha1('MD5')}\n")


def nonce(judge: Authenticator, at: float = NOW, source: str = SOURCE) -> str:
    return judge.challenges(REALM, source, at)[0][1].split('nonce="')[1].partition('"')[0]


def answered(
    given: str,
    algorithm: str = "SHA-256",
    *,
    method: str = "INVITE",
    qop: str = "auth",
    password: str = "open sesame",
    uri: str = URI,
    user: str = "sbc",
    count: int = 1,
) -> Request:
    """Answer a challenge as RFC 8760 says, from its text and nothing else."""

    def digest(text: str) -> str:
        return hashlib.new(algorithm.replace("-", ""), text.encode()).hexdigest()

    ha2 = digest(f"{method}:{uri}")
    middle = f"{given}:{count:08x}:c0ffee:{qop}:" if qop else f"{given}:"
    response = digest(f"{ha1(algorithm, password)}:{middle}{ha2}")
    value = f'Digest username="{user}", realm="recorder", nonce="{given}", uri="{uri}", response="{response}"'
    value += f", algorithm={algorithm}" + (f', qop={qop}, nc={count:08x}, cnonce="c0ffee"' if qop else "")
    request = Request(method, URI)
    request.headers.add("Authorization", value)
    return request


@pytest.fixture
def judge() -> Authenticator:
    return Authenticator(SECRET)


def said(judge: Authenticator, request: Request, at: float = NOW, source: str = SOURCE) -> Outcome:
    return judge.judge(request, REALM, source, at)


def test_a_challenge_names_sha_256_before_md5_s28(judge: Authenticator) -> None:
    fields = judge.challenges(REALM, SOURCE, NOW)
    assert [name for name, _ in fields] == ["WWW-Authenticate"] * 2
    assert ["SHA-256" in fields[0][1], fields[1][1].endswith("algorithm=MD5")] == [True, True]
    assert judge.challenges(REALM, SOURCE, NOW, stale=True)[0][1].endswith("stale=true")


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_the_right_answer_is_let_in_s28(judge: Authenticator, algorithm: str) -> None:
    assert said(judge, answered(nonce(judge), algorithm), NOW + 3) is Outcome.RIGHT


def test_without_credentials_of_our_realm_they_are_asked_for(judge: Authenticator) -> None:
    assert said(judge, Request("INVITE", URI)) is Outcome.MISSING
    other = Request("INVITE", URI)
    other.headers.add("Authorization", 'Digest username="sbc", realm="elsewhere"')
    other.headers.add("Authorization", "Basic c2JjOm9wZW4=")
    assert said(judge, other) is Outcome.MISSING


WRONG: list[dict[str, Any]] = [
    {"password": "shut sesame"},
    {"user": "nobody"},
    {"uri": "sip:other@192.0.2.10"},
    {"algorithm": "SHA-1"},
    {"qop": ""},  # such an answer could be sent again and again
    {"qop": "auth-int"},
    {"method": "OPTIONS"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_everything_else_is_wrong(judge: Authenticator, wrong: dict[str, Any]) -> None:
    request = answered(nonce(judge), **wrong)
    assert said(judge, Request("INVITE", URI, headers=request.headers)) is Outcome.WRONG


def test_a_nonce_counts_only_upwards(judge: Authenticator) -> None:
    """RFC 7616 section 3.4.5: whoever overheard an answer gains nothing by it."""
    first, other = nonce(judge), nonce(judge)
    assert first != other, "calls that are challenged in the same second do not share one"
    counts = [(first, 1), (first, 1), (first, 5), (first, 4), (first, 6), (other, 1)]
    right, stale = Outcome.RIGHT, Outcome.STALE
    found = [said(judge, answered(given, count=count)) for given, count in counts]
    assert found == [right, stale, right, stale, right, right]


def test_counts_that_are_forgotten_make_their_nonces_stale(
    judge: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "MAX_NONCES", 2)
    old, *newer = [nonce(judge, NOW + at) for at in range(4)]
    assert [said(judge, answered(each), NOW + 4) for each in (old, *newer)] == [Outcome.RIGHT] * 4
    assert said(judge, answered(old, count=2), NOW + 4) is Outcome.STALE
    assert said(judge, answered(newer[-1], count=2), NOW + 4) is Outcome.RIGHT


@pytest.mark.parametrize("password", ["open sesame", "shut sesame"])
def test_a_nonce_that_is_old_or_not_of_this_source_is_stale_whatever_the_password(
    judge: Authenticator, password: str
) -> None:
    """So a forged source address tries no passwords; and nobody has to type one again (RFC 7616 section 3.3)."""
    of_another = nonce(Authenticator(b"x" * 32))
    for strange in (nonce(judge, source="198.51.100.1"), "0.0.forged", of_another, nonce(judge, NOW + 900)):
        assert said(judge, answered(strange, password=password)) is Outcome.STALE
    request = answered(nonce(judge), password=password)
    assert said(judge, request, NOW + NONCE_SECONDS + 1) is Outcome.STALE


def test_from_the_fifth_wrong_answer_on_tries_wait_longer_and_longer(judge: Authenticator) -> None:
    at, wrong, waits = NOW, 0, []
    while wrong < FREE_WRONG + 12:
        outcome = said(judge, answered(nonce(judge, at), password="shut sesame"), at)
        if outcome is Outcome.WRONG:
            wrong += 1
            waits.append(0)
        else:
            assert outcome is Outcome.EARLY
            assert said(judge, answered(nonce(judge, at)), at) is Outcome.EARLY, "nor is the right one looked at"
            waits[-1] += 1
            at += 1
    assert waits[:-1] == [0] * (FREE_WRONG - 1) + [min(2**n, LONGEST_DELAY) for n in range(12)]
    assert said(judge, answered(nonce(judge, at)), at) is Outcome.EARLY
    assert said(judge, answered(nonce(judge, at, "192.0.2.9")), at, "192.0.2.9") is Outcome.RIGHT
    at += LONGEST_DELAY
    assert said(judge, answered(nonce(judge, at)), at) is Outcome.RIGHT
    assert said(judge, answered(nonce(judge, at), password="shut sesame"), at) is Outcome.WRONG
    assert said(judge, answered(nonce(judge, at)), at) is Outcome.RIGHT, "a right answer ends the waiting"


def test_unknown_users_of_a_source_wait_together(judge: Authenticator) -> None:
    found = [said(judge, answered(nonce(judge), user=f"user{n}")) for n in range(FREE_WRONG + 2)]
    assert found == [Outcome.WRONG] * FREE_WRONG + [Outcome.EARLY] * 2
    assert said(judge, answered(nonce(judge))) is Outcome.RIGHT


def test_the_memory_of_wrong_answers_is_bounded(judge: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "MAX_WRONG", 3)
    for n in range(FREE_WRONG * 10):
        source = f"192.0.2.{n % 10}"
        said(judge, answered(nonce(judge, NOW, source), password="x"), NOW, source)
    assert len(judge._wrong) == 3


@pytest.mark.parametrize("text", ["", "sbc", "sbc:recorder:zz", f"a:r:{'0' * 32}\nb:s:{'0' * 32}", f":r:{'0' * 32}"])
def test_a_file_of_users_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Realm.parse(text)


@given(st.text(max_size=300))
def test_any_authorization_is_judged_property(text: str) -> None:
    request = Request("INVITE", URI)
    request.headers.add("Authorization", "Digest " + text.replace("\r", " ").replace("\n", " "))
    assert said(Authenticator(SECRET), request) in (Outcome.MISSING, Outcome.WRONG, Outcome.STALE)
