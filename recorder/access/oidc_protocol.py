"""What is sent to an OpenID provider, and what is accepted from it (OpenID Connect Core 1.0, Discovery 1.0); pure.

Only these algorithms are accepted: all sign with a private key that the provider alone has. `none`, and HMAC with
public data as its key, are not among them (RFC 8725 section 3.1).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from admin_api.access.accounts_port import NotVouched, ProviderAway
from recorder.config.model import SignIn, loopback
from storage.access.actor import MAX_SUBJECT, proper, subject

ALGORITHMS = ("RS256", "PS256", "ES256", "RS384", "PS384", "ES384", "RS512", "PS512", "ES512", "Ed25519", "EdDSA")
SKEW = 60.0
"""Seconds that the provider's clock may be off (RFC 7519 section 4.1.4: "a few minutes" at most)."""
LONGEST = 3600.0
"""Maximum age of a token in seconds; ours was made a moment ago."""
MAX_TOKEN = 32 << 10  # characters; one with 200 groups has 10,000
MAX_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class Places:
    """A provider's endpoints, from its discovery document."""

    authorization: str
    token: str
    keys: str
    userinfo: str = ""
    basic: bool = True  # the client secret goes into a header, not into the form
    tells_issuer: bool = False  # RFC 9207


_NAMES = ("customer", "issuer", "client_id")  # tell one provider of the configuration from another


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """What is stored about a browser that was sent to a provider."""

    sign_in: SignIn = field(repr=False)
    back: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    def document(self) -> dict[str, str]:
        """Return it as JSON values; another node has the same provider in its configuration."""
        names = {name: getattr(self.sign_in, name) for name in _NAMES}
        return {**names, "back": self.back, "state": self.state, "nonce": self.nonce, "verifier": self.verifier}

    @classmethod
    def parse(cls, sign_ins: Sequence[SignIn], found: Mapping[str, str]) -> LoginAttempt:
        """Parse what `document` returned; raises ProviderAway if this node does not know the provider."""
        known = [each for each in sign_ins if all(getattr(each, name) == found[name] for name in _NAMES)]
        if not known:
            raise ProviderAway("configuration")
        return cls(known[0], found["back"], found["state"], found["nonce"], found["verifier"])


def places(document: Mapping[str, Any], issuer: str) -> Places:
    """Parse a discovery document; raises ProviderAway if its issuer differs or a link is unsafe."""
    if document.get("issuer") != issuer:
        raise ProviderAway("issuer")
    known = {name: str(document.get(name, "")) for name in _NEEDED}
    if not all(_safe(link, issuer) for link in known.values()):
        raise ProviderAway("discovery")
    userinfo = str(document.get("userinfo_endpoint") or "")
    methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    return Places(
        authorization=known["authorization_endpoint"],
        token=known["token_endpoint"],
        keys=known["jwks_uri"],
        userinfo=userinfo if _safe(userinfo, issuer) else "",
        basic="client_secret_basic" in methods,
        tells_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


def _safe(link: str, issuer: str) -> bool:
    """Tell whether a link is as safe as the issuer's: HTTPS, or loopback if the provider is there."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    plain = urlsplit(issuer).scheme == "http" and loopback(parts.hostname or "")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and plain))


def leave(attempt: LoginAttempt, found: Places) -> str:
    """Return the URL to send the browser to (Core section 3.1.2.1, RFC 7636)."""
    challenge = hashlib.sha256(attempt.verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": attempt.sign_in.client_id,
        "redirect_uri": attempt.back,
        "scope": " ".join(attempt.sign_in.scopes),
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    return found.authorization + ("&" if "?" in found.authorization else "?") + urlencode(query)


def code(attempt: LoginAttempt, found: Places, answer: Mapping[str, str]) -> str:
    """Return the code that the browser came back with; raises NotVouched if it does not match this sign-in."""
    if not hmac.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
        raise NotVouched("state")
    said = answer.get("iss")
    if (said is not None or found.tells_issuer) and said != attempt.sign_in.issuer:
        raise NotVouched("issuer of the answer")
    if not answer.get("code"):
        raise NotVouched("refused there")
    return answer["code"]


def form(attempt: LoginAttempt, found: Places, code: str, secret: str) -> tuple[dict[str, str], tuple[str, str] | None]:
    """Return the form that exchanges a code for a token, and name and password if they go into a header."""
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": attempt.back,
        "code_verifier": attempt.verifier,
    }
    client = attempt.sign_in.client_id
    if secret and found.basic:
        return fields, (client, secret)
    return {**fields, "client_id": client, **({"client_secret": secret} if secret else {})}, None


def key_id(token: str) -> str:
    """Return which key a token names, "" if none; raises NotVouched if it is not a token."""
    return str(_header(token).get("kid", ""))


def claims(token: str, keys: Sequence[Mapping[str, Any]], attempt: LoginAttempt, now: float) -> Mapping[str, Any]:
    """Return an ID token's claims, once it is proven genuine, new, and for us (Core section 3.1.3.7).

    Raises NotVouched with a word for the audit log.
    """
    found = _verified(token, keys)
    client = attempt.sign_in.client_id
    audience = found.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if found.get("iss") != attempt.sign_in.issuer:
        raise NotVouched("issuer")
    if client not in audiences or (len(audiences) > 1 and found.get("azp") != client):
        raise NotVouched("audience")
    if found.get("azp") not in (None, client):
        raise NotVouched("audience")
    _in_time(found, now)
    if not hmac.compare_digest(str(found.get("nonce", "")).encode(), attempt.nonce.encode()):
        raise NotVouched("nonce")
    if not isinstance(found.get("sub"), str) or not 0 < len(found["sub"]) <= MAX_SUBJECT:
        raise NotVouched("subject")
    return found


def _in_time(found: Mapping[str, Any], now: float) -> None:
    expires, made, begins = found.get("exp"), found.get("iat"), found.get("nbf", 0)
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in (expires, made, begins)):
        raise NotVouched("times")
    if now >= float(expires or 0) + SKEW:
        raise NotVouched("expired")
    if float(made or 0) > now + SKEW or float(begins) > now + SKEW or now - float(made or 0) > LONGEST:
        raise NotVouched("times")


def _header(token: str) -> Mapping[str, Any]:
    from joserfc import jws
    from joserfc.errors import JoseError

    try:
        return jws.extract_compact(token[:MAX_TOKEN].encode()).headers()
    except (JoseError, ValueError):
        raise NotVouched("token") from None


def _verified(token: str, keys: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    from joserfc import jwt  # with its dependencies 0.1 s of import that a start saves
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    header = _header(token)
    if header.get("alg") not in ALGORITHMS:
        raise NotVouched("algorithm")
    named = str(header.get("kid", ""))
    fitting = [key for key in keys if key.get("use", "sig") == "sig" and (not named or key.get("kid") == named)]
    if len(fitting) != 1:
        raise NotVouched("key")
    if fitting[0].get("kty") not in ("RSA", "EC", "OKP") or fitting[0].get("alg", header["alg"]) != header["alg"]:
        raise NotVouched("key")
    try:
        found = jwt.decode(token[:MAX_TOKEN], import_key(dict(fitting[0])), algorithms=[str(header["alg"])]).claims
    except (JoseError, ValueError, TypeError):
        raise NotVouched("signature") from None
    return dict(found)


def identity(found: Mapping[str, Any], sign_in: SignIn) -> str:
    """Return a person's identifier, which stays the same when the name changes (Core section 2)."""
    return subject(sign_in.issuer, str(found["sub"]))


def person(found: Mapping[str, Any], sign_in: SignIn) -> tuple[str, tuple[str, ...]]:
    """Return name and roles of the person; raises NotVouched."""
    name = found.get(sign_in.name_claim)
    if not isinstance(name, str) or not proper(name):
        raise NotVouched("name")
    groups = found.get(sign_in.groups_claim)
    listed = groups if isinstance(groups, list) else [groups]
    given = [role for group in listed[:MAX_GROUPS] if isinstance(group, str) for role in sign_in.roles.get(group, ())]
    if not given:
        raise NotVouched("no role")
    return name, tuple(dict.fromkeys(given))
