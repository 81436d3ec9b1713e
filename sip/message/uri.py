"""SIP URIs (RFC 3261 section 19.1): parse, compare, write."""

from __future__ import annotations

import re
from dataclasses import field
from urllib.parse import unquote

from sip.errors import MalformedValue
from sip.message.grammar import MAX_PARAMS, SCHEME, Params, readable
from sip.message.value import small_value

SIP_SCHEMES = ("sip", "sips")
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.%A-Za-z]+\]|[^\s:\[\]<>\"]+)(?::(\d{1,5}))?\Z")
_FORBIDDEN = re.compile(r'[\x00-\x20<>"\x7f]')


@small_value
class Uri:
    """A sip, sips or tel URI in parts; any other scheme is kept whole in `opaque`. Escapes are not decoded."""

    scheme: str
    """In lower case."""
    user: str | None = field(default=None, repr=False)
    """Before the last @ (tel: the number), still escaped; None without an @."""
    password: str | None = field(default=None, repr=False)
    """After the colon of the user part."""
    host: str = ""
    """Name or address; an IPv6 address without brackets."""
    port: int | None = None
    """None for the default of the scheme."""
    params: Params = ()
    """Pairs in order, names in lower case."""
    headers: str | None = field(default=None, repr=False)
    """Everything after the question mark, unparsed."""
    opaque: str = field(default="", repr=False)
    """Everything after the colon of another scheme."""

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Parse a URI; raise MalformedValue for blanks, <>, quotes, controls, a bare IPv6 address or a bad port."""
        text = readable(text)
        found = SCHEME.match(text)
        if found is None or _FORBIDDEN.search(text):
            raise MalformedValue("uri")
        scheme, rest = found[1].lower(), text[found.end() :]
        if not rest:
            raise MalformedValue("uri-empty")
        if scheme in SIP_SCHEMES:
            return _sip(scheme, rest)
        if scheme == "tel":
            number, _, tail = rest.partition(";")
            return cls(scheme, user=number, params=_params(tail))
        return cls(scheme, opaque=rest)

    def param(self, name: str) -> str | None:
        """Return the value of a parameter: None if absent, empty if it has no value."""
        for key, value in self.params:
            if key == name:
                return value or ""
        return None

    @property
    def user_text(self) -> str:
        """User part with its escapes decoded; empty if there is none."""
        return unquote(self.user or "")

    def __str__(self) -> str:
        if self.opaque:
            return f"{self.scheme}:{self.opaque}"
        tail = "".join(f";{k}" if v is None else f";{k}={v}" for k, v in self.params)
        tail += f"?{self.headers}" if self.headers is not None else ""
        if self.scheme == "tel":
            return f"tel:{self.user}{tail}"
        user = "" if self.user is None else self.user + (f":{self.password}" if self.password is not None else "") + "@"
        return f"{self.scheme}:{user}{host_port(self.host, self.port)}{tail}"


def host_port(host: str, port: int | None) -> str:
    """Write host and port; an IPv6 address in brackets."""
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def split_host_port(text: str) -> tuple[str, int | None]:
    """Parse `host[:port]` and remove brackets; raise MalformedValue."""
    found = _HOST_PORT.match(text)
    if found is None:
        raise MalformedValue("host")
    port = int(found[2]) if found[2] else None
    if port is not None and port > 65_535:
        raise MalformedValue("port")
    return found[1].strip("[]"), port


def _sip(scheme: str, rest: str) -> Uri:
    # The user part may contain ; ? and , so the last @ counts (RFC 4475 sections 3.1.1.2, 3.1.1.9).
    before, at, place = rest.rpartition("@")
    user, colon, password = before.partition(":")
    place, mark, headers = place.partition("?")
    where, _, tail = place.partition(";")
    host, port = split_host_port(where)
    return Uri(
        scheme, user if at else None, password if colon else None, host, port, _params(tail), headers if mark else None
    )


def _params(tail: str) -> Params:
    if not tail:
        return ()
    pairs = []
    for piece in tail.split(";")[:MAX_PARAMS]:
        name, equals, value = piece.partition("=")
        if name:
            pairs.append((name.lower(), value if equals else None))
    return tuple(pairs)
