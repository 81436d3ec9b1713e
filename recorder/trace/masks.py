"""Replace values of a trace that may be personal by words; within one trace, the same value gets the same word.

A word is a keyed digest; its key is random, made for each trace, and never written. So a trace can show that the user
of From is a participant of the metadata, but nobody can find a number by trying all numbers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from hashlib import blake2b

from personal import MASK
from recorder.observe.redaction import mask
from sip.errors import SipError
from sip.message.grammar import Params
from sip.message.uri import SIP_SCHEMES, Uri, host_port

KEY_BYTES = 32
WORD_BYTES = 4
"""Bytes of a digest: enough to tell the values of one trace apart."""
MOST = 999_999
"""The largest number that is shown: six digits are no telephone number, as in the log."""
MORE = "…"
"""Stands for parts that are left out."""

TRANSPORTS = frozenset("udp tcp tls ws wss sctp".split())
URI_FLAGS = frozenset("lr ob gr +sip.src +sip-src +sip-rec src".split())
"""URI parameters that are shown without their value; the last four mark a recording client where some put the mark."""
SCHEMES = frozenset("urn mailto im pres xmpp http https cid".split())
"""Schemes besides sip, sips and tel that are shown."""

_LETTERS = bytes.maketrans(b"0123456789abcdef", b"abcdefghijklmnop")


class Masks:
    """The words of one trace."""

    def __init__(self, key: bytes, shown: Collection[str] = ()) -> None:
        """`key`: random bytes. `shown`: host names that are not masked, those of the configuration."""
        self._key = key
        self._shown = frozenset(name.lower() for name in shown)

    def word(self, kind: str, value: str) -> str:
        """Return the word for a value, such as `user-agcpnobd`; it has no digit, so it is taken for no number."""
        found = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=WORD_BYTES, key=self._key).hexdigest()
        return f"{kind}-{found.encode().translate(_LETTERS).decode()}"

    def host(self, text: str, *, machine: bool = True) -> str:
        """Return a configured name, or the address of a `machine` of the signalling, as it is; else a word."""
        bare = text.strip("[]")
        if bare.lower() in self._shown:
            return bare.lower()
        if machine and is_address(bare):
            found = address(bare)
            if found != MASK:
                return found
        return self.word("host", bare.lower())

    def uri(self, text: str, *, machine: bool = False) -> str:
        """Return a URI with its user masked. `machine`: it names a machine of the signalling, not a person."""
        try:
            uri = Uri.parse(text)
        except SipError:
            return MASK
        if uri.scheme == "tel":
            return f"tel:{self.word('user', uri.user_text)}{self._uri_params(uri.params)}"
        if uri.scheme not in SIP_SCHEMES:
            return f"{uri.scheme}:{self.word('id', uri.opaque)}" if uri.scheme in SCHEMES else MASK
        user = "" if uri.user is None else f"{self.word('user', uri.user_text)}@"
        place = host_port(self.host(uri.host, machine=machine), uri.port)
        tail = f"?{MORE}" if uri.headers is not None else ""
        return f"{uri.scheme}:{user}{place}{self._uri_params(uri.params)}{tail}"

    def _uri_params(self, params: Params) -> str:
        found, left = "", False
        for name, value in params:
            if name == "transport" and (value or "").lower() in TRANSPORTS:
                found += f";transport={(value or '').lower()}"
            elif name == "user" and value in ("phone", "ip", "dialstring"):
                found += f";user={value}"
            elif name in URI_FLAGS:
                found += f";{name}"
            else:
                left = True
        return f"{found};{MORE}" if left else found


def number(text: str | None) -> str:
    """Return a number of at most six digits, else the mask."""
    digits = (text or "").strip()
    return digits if digits.isascii() and digits.isdigit() and len(digits) <= len(str(MOST)) else MASK


def one_of(text: str | None, known: Collection[str]) -> str:
    """Return a word of a closed set in its spelling as sent, else the mask."""
    found = (text or "").strip()
    return found if found.lower() in known or found in known else MASK


def address(text: str, port: int | None = None) -> str:
    """Return the address of a machine as the log shows it; the mask if it is none."""
    bare = host_port(text, port) if port is not None else text
    return str(mask({"address": bare})["address"])


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
