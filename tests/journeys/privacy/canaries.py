"""Canaries: one value for every place where somebody's data may stand, and the search for them in any coding."""

from __future__ import annotations

import base64
import html
import json
import quopri
import re
import urllib.parse
from collections.abc import Iterator, Mapping

_PLACE = re.compile(r"\{(word|name|number|key): ([^}]+)\}")
LEAST = 6  # bytes of a spelling that is looked for; shorter ones are met by chance


class Canaries:
    """Gives each place its own canary, so that a hit tells where it came from."""

    def __init__(self) -> None:
        self._planted: dict[str, str] = {}

    def plant(self, text: str) -> str:
        """Put canaries into a text: {word: PLACE} is a token, {name: PLACE} has umlauts; {number: …} and {key: …}."""
        return _PLACE.sub(lambda found: self.at(found[2], found[1]), text)

    def at(self, place: str, kind: str = "word") -> str:
        """Return the canary of a place."""
        if place not in self._planted:
            self._planted[place] = _made(kind, len(self._planted))
        return self._planted[place]

    @property
    def places(self) -> Mapping[str, str]:
        """Every place with its canary."""
        return self._planted

    def found(self, said: bytes) -> list[str]:
        """Name the places whose canary is in what was said, in whatever coding."""
        lowered = said.lower()
        return [place for place, secret in self._planted.items() if any(way in lowered for way in _ways(secret))]


def _made(kind: str, n: int) -> str:
    if kind == "number":
        return f"+4979{n:03}83150"
    if kind == "key":
        return base64.b64encode(bytes([n]) * 4 + b"PlantedSrtpKeyOfACanary.." + bytes([n])).decode()
    return f"Zq{n:03}ölfkänarien" if kind == "name" else f"Zq{n:03}kanarienvogel"


def _ways(secret: str) -> set[bytes]:
    """Return every way in which a value might be written, in small letters."""
    texts = [secret, secret.lower(), secret.upper(), secret[::-1]]
    if secret.startswith("+"):
        texts += [secret[1:], "0" + secret[3:], secret[3:]]
    ways: set[bytes] = set()
    for text in texts:
        ways.update(_written(text))
    return {way.lower() for way in ways if len(way) >= LEAST}


def _written(text: str) -> Iterator[bytes]:
    raw = text.encode()
    yield raw
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")
    yield text.encode("latin-1")
    yield raw.decode("latin-1").encode()  # UTF-8 that was taken for Latin-1
    yield urllib.parse.quote(text, safe="").encode()
    yield "".join(f"%{byte:02x}" for byte in raw).encode()
    yield json.dumps(text)[1:-1].encode()
    yield repr(raw)[2:-1].encode()
    yield html.escape(text).encode("ascii", "xmlcharrefreplace")
    yield quopri.encodestring(raw).rstrip(b"=\n")
    yield raw.hex().encode()
    yield raw.hex(" ").encode()
    yield text.encode("utf-16-le").hex().encode()
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * shift + raw)[4 if shift else 0 : -4]
