"""What is believed of a provider, and each way to lie about who somebody is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from admin_api.access.accounts_port import NotVouched, ProviderAway
from recorder.access import oidc_protocol as rules
from recorder.access.oidc_protocol import LoginAttempt, Places
from tests.in_process.openid_provider import elliptic, key, sign_in, signed, truth

ISSUER = "https://login.example"
NOW = 1_800_000_000.0
OURS, THEIRS = key(), key()
JOURNEY = LoginAttempt(sign_in(ISSUER), "https://rec.example/openid/back", "state-1", "nonce-1", "v" * 64)
PLACES = Places(f"{ISSUER}/authorize", f"{ISSUER}/token", f"{ISSUER}/jwks")
DISCOVERY = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
}


def public(*keys: Any) -> list[dict[str, Any]]:
    return [each.as_dict(private=False) for each in keys]


def said(token: str, *keys: Any) -> Any:
    return rules.claims(token, public(*(keys or (OURS,))), JOURNEY, NOW)


def good(**more: Any) -> dict[str, Any]:
    return truth(ISSUER, "nonce-1", NOW, **more)


def test_a_genuine_token_is_believed() -> None:
    found = said(signed(good(), OURS))
    assert rules.person(found, JOURNEY.sign_in) == ("anna@acme.example", ("privacy", "listener"))


@pytest.mark.parametrize(
    ("by", "alg"), [(OURS, "PS256"), (OURS, "RS512"), (elliptic(), "ES256")], ids=["PS256", "RS512", "ES256"]
)
def test_other_signatures_with_a_private_key_are_believed(by: Any, alg: str) -> None:
    public_key = by.as_dict(private=False)
    assert rules.claims(signed(good(), by, alg), [public_key], JOURNEY, NOW)["sub"] == "s-1"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "another"}, "audience"),
        ({"aud": ["another", "third"]}, "audience"),
        ({"aud": ["recorder", "another"]}, "audience"),
        ({"aud": ["recorder", "another"], "azp": "another"}, "audience"),
        ({"azp": "another"}, "audience"),
        ({"aud": None}, "audience"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"exp": NOW - 61}, "expired"),
        ({"exp": None}, "times"),
        ({"exp": "tomorrow"}, "times"),
        ({"exp": True}, "times"),
        ({"iat": NOW + 61}, "times"),
        ({"iat": NOW - 3601, "exp": NOW + 9}, "times"),
        ({"iat": None}, "times"),
        ({"nbf": NOW + 61}, "times"),
        ({"sub": ""}, "subject"),
        ({"sub": None}, "subject"),
        ({"sub": 7}, "subject"),
    ],
)
def test_a_token_that_is_not_for_us_or_not_for_now(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(NotVouched, match=f"^{why}$"):
        said(signed(good(**changes), OURS))


def test_clocks_may_differ_by_a_minute() -> None:
    assert said(signed(good(exp=NOW - 59, iat=NOW - 300), OURS))
    assert said(signed(good(iat=NOW + 59), OURS))
    assert said(signed(good(aud=["recorder", "another"], azp="recorder"), OURS))


def unsigned(alg: str) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': alg, 'kid': 'one'})}.{part(good())}."


def test_a_token_without_a_private_keys_signature_is_refused() -> None:
    """RFC 8725 section 2.1: HS256 with what everybody can read; and a key in the token itself."""
    for alg in ("none", "None", "RS256", "XX", ""):
        with pytest.raises(NotVouched):
            said(unsigned(alg))
    for secret in (OURS.as_pem(private=False), json.dumps(OURS.as_dict(private=False)).encode()):
        head, body, _ = unsigned("HS256").split(".")
        tag = base64.urlsafe_b64encode(hmac.digest(secret, f"{head}.{body}".encode(), "sha256")).rstrip(b"=").decode()
        with pytest.raises(NotVouched, match="algorithm"):
            said(f"{head}.{body}.{tag}")
    with pytest.raises(NotVouched, match=r"token|signature"):
        said(signed(good(), THEIRS, jwk=THEIRS.as_dict(private=False)))


@pytest.mark.parametrize(
    ("kids", "named"), [(("two",), "one"), ((), "one"), (("one", "one"), "one"), (("one", "two"), None)]
)
def test_which_key_it_was_must_be_plain(kids: tuple[str, ...], named: str | None) -> None:
    keys = [{**OURS.as_dict(private=False), "kid": kid} for kid in kids]
    with pytest.raises(NotVouched, match="key"):
        rules.claims(signed(good(), OURS, kid=named), keys, JOURNEY, NOW)
    keys = [{k: v for k, v in OURS.as_dict(private=False).items() if k != "kid"}]  # the only one needs no name
    assert rules.claims(signed(good(), OURS, kid=None), keys, JOURNEY, NOW)["sub"] == "s-1"


@pytest.mark.parametrize("change", [{"use": "enc"}, {"kty": "oct", "k": "AAAA"}, {"alg": "PS512"}, {"n": "AQAB"}])
def test_a_key_for_something_else_is_none(change: dict[str, str]) -> None:
    with pytest.raises(NotVouched):
        rules.claims(signed(good(), OURS), [{**OURS.as_dict(private=False), **change}], JOURNEY, NOW)


@pytest.mark.parametrize(
    "token", ["", "a", "a.b.c", "....", "ÿ.ÿ.ÿ", "e30.e30.e30", signed(good(), OURS)[:-8] + "AAAAAAAA"]
)
def test_an_invalid_id_token_is_refused(token: str) -> None:
    with pytest.raises(NotVouched):
        said(token)
    if token.count(".") != 2:
        with pytest.raises(NotVouched):
            rules.key_id(token)


# --- the way there and back ------------------------------------------------------------------------------------------


def test_the_link_asks_for_a_code_with_a_challenge() -> None:
    query = {name: values[0] for name, values in parse_qs(urlsplit(rules.leave(JOURNEY, PLACES)).query).items()}
    digest = hashlib.sha256(b"v" * 64).digest()
    assert query == {
        "response_type": "code",
        "client_id": "recorder",
        "redirect_uri": "https://rec.example/openid/back",
        "scope": "openid profile",
        "state": "state-1",
        "nonce": "nonce-1",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"code": "c"}, "state"),
        ({"code": "c", "state": "another"}, "state"),
        ({"code": "c", "state": "stäte"}, "state"),
        ({"code": "c", "state": "state-1", "iss": "https://evil.example"}, "issuer of the answer"),
        ({"error": "access_denied", "state": "state-1"}, "refused there"),
        ({"state": "state-1"}, "refused there"),
    ],
)
def test_a_way_back_that_is_not_the_one_that_began(answer: dict[str, str], why: str) -> None:
    with pytest.raises(NotVouched, match=f"^{why}$"):
        rules.code(JOURNEY, PLACES, answer)


def test_a_provider_that_announces_its_iss_must_send_it() -> None:
    audit_writer = rules.places({**DISCOVERY, "authorization_response_iss_parameter_supported": True}, ISSUER)
    assert rules.code(JOURNEY, audit_writer, {"code": "c", "state": "state-1", "iss": ISSUER}) == "c"
    with pytest.raises(NotVouched):
        rules.code(JOURNEY, audit_writer, {"code": "c", "state": "state-1"})


def test_a_secret_goes_where_the_provider_wants_it() -> None:
    fields, basic = rules.form(JOURNEY, PLACES, "c", "secret")
    assert basic == ("recorder", "secret")
    assert fields["code_verifier"] == "v" * 64
    assert "secret" not in fields.values()
    posting = rules.places({**DISCOVERY, "token_endpoint_auth_methods_supported": ["client_secret_post"]}, ISSUER)
    fields, basic = rules.form(JOURNEY, posting, "c", "secret")
    assert (fields["client_secret"], fields["client_id"], basic) == ("secret", "recorder", None)
    fields, basic = rules.form(JOURNEY, PLACES, "c", "")
    assert (fields["client_id"], "client_secret" in fields, basic) == ("recorder", False, None)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://login.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": ""},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "//login.example"},
        {"token_endpoint": 7},
        {"token_endpoint": "http://127.0.0.1/token"},
        {"token_endpoint": "https://[::1"},
    ],
)
def test_a_foreign_or_misleading_discovery_document_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ProviderAway):
        rules.places({**DISCOVERY, **change}, ISSUER)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"groups": []}, "no role"),
        ({"groups": ["others"]}, "no role"),
        ({"groups": None}, "no role"),
        ({"groups": {"desk": True}}, "no role"),
        ({"groups": [["desk"], 7]}, "no role"),
        ({"preferred_username": None}, "name"),
        ({"preferred_username": " "}, "name"),
        ({"preferred_username": "a\nb"}, "name"),
        ({"preferred_username": "a" * 65}, "name"),
        ({"preferred_username": ["anna"]}, "name"),
    ],
)
def test_a_token_without_name_or_role_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(NotVouched, match=why):
        rules.person(good(**changes), JOURNEY.sign_in)


def test_roles_of_several_groups_add_up() -> None:
    assert rules.person(good(groups=["chiefs", "x", "desk"]), JOURNEY.sign_in)[1] == ("admin", "privacy", "listener")
    assert rules.person(good(groups="chiefs"), JOURNEY.sign_in)[1] == ("admin",)
