"""Codes of an authenticator app (TOTP, RFC 6238), and recovery codes for a lost one; pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

STEP = 30
"""Seconds that a code lasts (RFC 6238 section 5.2)."""
DIGITS = 6
WINDOW = 1
"""Steps before and after that are accepted too: phone clocks are some seconds off, and people type slowly."""
SECRET_BYTES = 20
"""Bytes: the length of SHA-1, as RFC 4226 section 4 advises; every app supports SHA-1, few anything else."""
RECOVERY_CODES = 10
RECOVERY_BYTES = 10
"""80 bits: cannot be guessed, so a plain hash protects them."""
_GROUP = 4


def new_secret(random: Callable[[int], bytes]) -> str:
    """Return a new secret in base32, which can be typed."""
    return base64.b32encode(random(SECRET_BYTES)).decode()


def link(secret: str, issuer: str, name: str) -> str:
    """Return the content of the QR code: otpauth://totp/… (Google Authenticator's "Key URI Format")."""
    label = f"{quote(issuer, safe='')}:{quote(name, safe='')}"
    return f"otpauth://totp/{label}?secret={secret}&issuer={quote(issuer, safe='')}"


def code_at(secret: str, step: int) -> str:
    """Return the code of a time step (RFC 4226 section 5.3)."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", step), "sha1")
    offset = digest[-1] & 15
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def step_of(secret: str, code: str, now: float, last: int) -> int | None:
    """Return the time step that a code belongs to, None if it is wrong; steps up to `last` are used up."""
    typed = "".join(code.split())
    found = None
    for step in _steps(now):
        if hmac.compare_digest(code_at(secret, step).encode(), typed.encode("utf-8", "replace")) and step > last:
            found = step
    return found


def _steps(now: float) -> Iterator[int]:
    middle = int(now) // STEP
    yield from range(max(0, middle - WINDOW), middle + WINDOW + 1)


def new_recovery_codes(random: Callable[[int], bytes]) -> list[str]:
    """Return codes to print and store, each valid once."""
    return [_grouped(base64.b32encode(random(RECOVERY_BYTES)).decode().lower()) for _ in range(RECOVERY_CODES)]


def recovery_digest(code: str) -> str:
    """Return the hash of a recovery code; blanks, hyphens and capitals do not matter."""
    plain = "".join(code.split()).replace("-", "").lower()
    return hashlib.sha256(f"recovery\0{plain}".encode("utf-8", "replace")).hexdigest()


def without(digests: Sequence[str], code: str) -> tuple[str, ...] | None:
    """Return the recovery codes that are left after this one was used, None if it is not one of them."""
    used = recovery_digest(code)
    left = tuple(each for each in digests if not hmac.compare_digest(each, used))
    return left if len(left) < len(digests) else None


def _grouped(text: str) -> str:
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))
