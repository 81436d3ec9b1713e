"""Digest authentication of requests (RFC 3261 section 22, RFC 8760): write challenges and check the responses.

No state is kept for a challenge: the nonce contains its time and is bound to the source by a secret. Most recording
clients cannot answer a challenge, so sources and certificates are the usual method and this one is optional. Users are
given in htdigest format, `user:realm:HA1`: 32 hexadecimal digits are MD5, 64 are SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sip.message.message import Request

NONCE_SECONDS = 300
"""Lifetime of a nonce in seconds: enough for a client's second try, too short to be worth stealing."""
MAX_USERS = 10_000
"""Most lines in a file of users."""
_PAIR = re.compile(r'([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_HASH = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}


class Outcome(StrEnum):
    """The result of an attempt to authenticate."""

    RIGHT = "right"
    MISSING = "missing"  # no credentials for our realm: send a challenge
    STALE = "stale"  # right password, but the nonce is too old or not for this source: send a challenge with stale=true
    WRONG = "wrong"  # send a challenge and count the failure


@dataclass(frozen=True, slots=True)
class Realm:
    """Who may authenticate."""

    name: str
    """The realm's name, shown in the challenge."""
    users: Mapping[tuple[str, str], str]
    """HA1 by user and algorithm (SHA-256 or MD5), in lower case hexadecimal digits."""

    @classmethod
    def parse(cls, text: str) -> Realm:
        """Parse lines `user:realm:HA1`, all of one realm; raise ValueError with the number of the first bad line."""
        users: dict[tuple[str, str], str] = {}
        realms: set[str] = set()
        for number, line in enumerate(text.splitlines()[:MAX_USERS], 1):
            if not line.strip() or line.startswith("#"):
                continue
            user, _, rest = line.strip().partition(":")
            realm, _, digest = rest.rpartition(":")
            algorithm = {32: "MD5", 64: "SHA-256"}.get(len(digest))
            realms.add(realm)
            if not user or algorithm is None or not re.fullmatch(r"[0-9a-fA-F]+", digest) or len(realms) > 1:
                raise ValueError(number)
            users[user, algorithm] = digest.lower()
        if not users:
            raise ValueError(0)
        return cls(realms.pop(), users)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Return the algorithms for which any user has a secret, the stronger first (RFC 8760 section 2.4)."""
        return tuple(name for name in _HASH if any(algorithm == name for _, algorithm in self.users))


def challenges(realm: Realm, secret: bytes, source: str, now: float, *, stale: bool = False) -> list[tuple[str, str]]:
    """Return the WWW-Authenticate fields of a 401, one for each algorithm."""
    nonce = _nonce(secret, source, int(now))
    tail = ", stale=true" if stale else ""
    text = f'Digest realm="{realm.name}", nonce="{nonce}", qop="auth", algorithm='
    return [("WWW-Authenticate", f"{text}{name}{tail}") for name in realm.algorithms]


def judge(request: Request, realm: Realm, secret: bytes, source: str, now: float) -> Outcome:
    """Check the Authorization of a request."""
    for value in request.headers.all("Authorization"):
        scheme, _, rest = value.strip().partition(" ")
        fields = {found[1].lower(): found[2] or found[3] or "" for found in _PAIR.finditer(rest)}
        if scheme.lower() == "digest" and fields.get("realm") == realm.name:
            return _judge(request, fields, realm, secret, source, now)
    return Outcome.MISSING


def _judge(
    request: Request, fields: Mapping[str, str], realm: Realm, secret: bytes, source: str, now: float
) -> Outcome:
    algorithm = fields.get("algorithm", "MD5").upper()
    # An unknown user takes as long as a wrong password, so that timing reveals no users.
    known = realm.users.get((fields.get("username", ""), algorithm))
    made = _made_at(fields.get("nonce", ""), secret, source)
    if algorithm not in _HASH or fields.get("qop", "").lower() not in ("auth", ""):
        return Outcome.WRONG
    right = hmac.compare_digest(
        _response(request.method, fields, known or "0", algorithm).encode(), fields.get("response", "").lower().encode()
    )
    if not right or known is None or fields.get("uri", "") != request.uri:
        return Outcome.WRONG
    if made is None:  # from an earlier process, or for another address of the client: the password is right
        return Outcome.STALE
    return Outcome.RIGHT if 0 <= now - made <= NONCE_SECONDS else Outcome.STALE


def _response(method: str, fields: Mapping[str, str], ha1: str, algorithm: str) -> str:
    """Compute the response that the client should have sent (RFC 2617 section 3.2.2.1, RFC 8760)."""
    ha2 = _hex(algorithm, f"{method}:{fields.get('uri', '')}")
    if not fields.get("qop"):
        return _hex(algorithm, f"{ha1}:{fields.get('nonce', '')}:{ha2}")
    middle = f"{fields.get('nonce', '')}:{fields.get('nc', '')}:{fields.get('cnonce', '')}:auth"
    return _hex(algorithm, f"{ha1}:{middle}:{ha2}")


def _hex(algorithm: str, text: str) -> str:
    return _HASH[algorithm](text.encode("utf-8", "surrogateescape")).hexdigest()


def _nonce(secret: bytes, source: str, at: int) -> str:
    mark = hmac.digest(secret, f"digest {at} {source}".encode("utf-8", "surrogateescape"), "sha256").hex()[:32]
    return f"{at:x}.{mark}"


def _made_at(nonce: str, secret: bytes, source: str) -> int | None:
    digits, _, _ = nonce.partition(".")
    if not re.fullmatch(r"[0-9a-f]{1,16}", digits):
        return None
    at = int(digits, 16)
    given, right = nonce.encode("utf-8", "surrogateescape"), _nonce(secret, source, at).encode()
    return at if hmac.compare_digest(given, right) else None
