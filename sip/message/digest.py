"""Digest authentication of requests (RFC 3261 section 22, RFC 8760): write challenges and check the responses.

No state is kept for a challenge: the nonce contains its time and is bound to the source by a secret. Only right answers
leave a trace, the greatest count of their nonce, and wrong ones, which make the next try of that user from that source
wait. A password is looked at only with a nonce that its source has received from us, so whoever forges a source address
can neither try passwords nor make somebody else wait.

Most recording clients cannot answer a challenge, so sources and certificates are the usual method and this one is
optional. Users are given in htdigest format, `user:realm:HA1`: 32 hexadecimal digits are MD5, 64 are SHA-256.
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
MAX_NONCES = 20_000
"""Most nonces whose count is kept: calls set up in NONCE_SECONDS at 66 a second. Beyond it the oldest become stale."""
MAX_WRONG = 10_000
"""Most pairs of user and source whose wrong answers are counted; beyond it the oldest are forgotten."""
FREE_WRONG = 5
"""The wrong answer from which on the next try has to wait: a mistyped password fails a few times at once."""
LONGEST_DELAY = 300
"""Seconds that a try waits at most: under 300 passwords a day and source."""
_PAIR = re.compile(r'([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_NONCE = re.compile(r"([0-9a-f]{1,16})\.([0-9a-f]{1,16})\.[0-9a-f]{32}")
_COUNT = re.compile(r"[0-9a-fA-F]{1,8}")  # eight in the RFC; some write fewer
_HASH = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}


class Outcome(StrEnum):
    """The result of an attempt to authenticate."""

    RIGHT = "right"
    MISSING = "missing"  # no credentials for our realm: send a challenge
    STALE = "stale"  # the nonce is too old, used, or not for this source: send a challenge with stale=true
    WRONG = "wrong"  # send a challenge and count the failure
    EARLY = "early"  # after wrong answers it came too soon and was not looked at: send a challenge


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


class Authenticator:
    """Challenges clients and judges their answers; times are seconds of a clock that only advances."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: random bytes of this process, which make its nonces."""
        self._secret = secret
        self._made = 0  # nonces so far
        self._counts: dict[str, int] = {}  # greatest count that each nonce was used with
        self._forgotten = -1  # nonces made until then are no longer in `_counts`
        self._wrong: dict[tuple[str, str, str], tuple[int, float]] = {}  # number of wrong answers, end of the wait

    def challenges(self, realm: Realm, source: str, now: float, *, stale: bool = False) -> list[tuple[str, str]]:
        """Return the WWW-Authenticate fields of a 401, one for each algorithm."""
        self._made += 1  # calls that are challenged at the same time need a nonce each
        nonce = _nonce(self._secret, source, int(now), self._made)
        tail = ", stale=true" if stale else ""
        text = f'Digest realm="{realm.name}", nonce="{nonce}", qop="auth", algorithm='
        return [("WWW-Authenticate", f"{text}{name}{tail}") for name in realm.algorithms]

    def judge(self, request: Request, realm: Realm, source: str, now: float) -> Outcome:
        """Check the Authorization of a request."""
        for value in request.headers.all("Authorization"):
            scheme, _, rest = value.strip().partition(" ")
            fields = {found[1].lower(): found[2] or found[3] or "" for found in _PAIR.finditer(rest)}
            if scheme.lower() == "digest" and fields.get("realm") == realm.name:
                return self._judge(request, fields, realm, source, now)
        return Outcome.MISSING

    def _judge(self, request: Request, fields: Mapping[str, str], realm: Realm, source: str, now: float) -> Outcome:
        algorithm, nonce = fields.get("algorithm", "MD5").upper(), fields.get("nonce", "")
        made = _made_at(nonce, self._secret, source)
        if made is None or made <= self._forgotten or not 0 <= now - made <= NONCE_SECONDS:
            return Outcome.STALE
        if (
            algorithm not in _HASH
            or fields.get("qop", "").lower() != "auth"
            or not _COUNT.fullmatch(fields.get("nc", ""))
        ):
            return Outcome.WRONG
        known = realm.users.get((fields.get("username", ""), algorithm))
        who = (realm.name, "" if known is None else fields["username"], source)
        wrong, until = self._wrong.get(who, (0, now))
        if now < until:
            return Outcome.EARLY
        # An unknown user takes as long as a wrong password, so that timing reveals no users.
        given = _response(request.method, fields, known or "0", algorithm)
        right = hmac.compare_digest(given.encode(), fields.get("response", "").lower().encode())
        if not right or known is None or fields.get("uri", "") != request.uri:
            self._failed(who, wrong + 1, now)
            return Outcome.WRONG
        self._wrong.pop(who, None)
        return Outcome.RIGHT if self._counted(nonce, int(fields["nc"], 16), made) else Outcome.STALE

    def _failed(self, who: tuple[str, str, str], wrong: int, now: float) -> None:
        """Count a wrong answer; from FREE_WRONG on, the next try waits, each time twice as long."""
        self._wrong.pop(who, None)  # the newest stand last
        delay = min(2 ** min(wrong - FREE_WRONG, 16), LONGEST_DELAY) if wrong >= FREE_WRONG else 0
        self._wrong[who] = wrong, now + delay
        if len(self._wrong) > MAX_WRONG:
            del self._wrong[next(iter(self._wrong))]

    def _counted(self, nonce: str, count: int, made: int) -> bool:
        """Note the count that a nonce was used with; return False if it is not greater than before (section 3.4.5)."""
        if count <= self._counts.get(nonce, 0):
            return False
        self._counts[nonce] = count
        if len(self._counts) > MAX_NONCES:
            oldest = next(iter(self._counts))
            del self._counts[oldest]
            self._forgotten = max(self._forgotten, int(oldest.partition(".")[0], 16))
        return True


def _response(method: str, fields: Mapping[str, str], ha1: str, algorithm: str) -> str:
    """Compute the response that the client should have sent (RFC 7616 section 3.4.1, RFC 8760)."""
    ha2 = _hex(algorithm, f"{method}:{fields.get('uri', '')}")
    middle = f"{fields.get('nonce', '')}:{fields.get('nc', '')}:{fields.get('cnonce', '')}:auth"
    return _hex(algorithm, f"{ha1}:{middle}:{ha2}")


def _hex(algorithm: str, text: str) -> str:
    return _HASH[algorithm](text.encode("utf-8", "surrogateescape")).hexdigest()


def _nonce(secret: bytes, source: str, at: int, number: int) -> str:
    mark = hmac.digest(secret, f"digest {at} {number} {source}".encode("utf-8", "surrogateescape"), "sha256").hex()[:32]
    return f"{at:x}.{number:x}.{mark}"


def _made_at(nonce: str, secret: bytes, source: str) -> int | None:
    found = _NONCE.fullmatch(nonce)
    if found is None:
        return None
    at, number = int(found[1], 16), int(found[2], 16)
    return at if hmac.compare_digest(nonce, _nonce(secret, source, at, number)) else None
