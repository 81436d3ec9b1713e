"""People in a call: roles, addresses, and what the headers of a request say about them.

**From and To.** In a recording dialog they name the recording client and the recorder, not the people who talk. They
count as parties only while no metadata and no other header names a participant, and only if they look like people: a
telephone number or a display name, and not a word typical of machines (`_MACHINES`). To must also differ from the
Request-URI, because the called address is the recorder's. Only the request that opens a dialog is read, because later
ones go to our Contact. P-Asserted-Identity and Remote-Party-ID take precedence over From (RFC 3325 section 9.1), since
a proxy has checked them.

**Names.** If an address in these headers belongs to a known participant without a name, it supplies the name; it never
adds a second party.

**Redirections.** Diversion (RFC 5806) and History-Info (RFC 7044) name people who took part by redirecting the call;
they are parties even if there are metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote

from personal import Personal
from sip.errors import SipError
from sip.message.header_values import NameAddr
from sip.message.message import Request
from sip.siprec.document import Identity, clean_name

MAX_ADDRESS = 1_024
"""Characters of an address that are kept; the longest seen (Genesys) has 520."""
MAX_FACTS = 32
"""Header elements of one kind that are read."""
MIN_SUFFIX = 7
"""Digits from which a number equals its national form: a subscriber number without area code."""

_SCHEMES = frozenset(("sip", "sips", "tel", "im", "pres", "mailto"))
_SEPARATORS = re.compile(r"[-.()]")
_MACHINES = frozenset(
    "src srs sip siprec sipsrc siprecsrc siprecclient acmesrc asbce recorder recording recordingserver rec sbc vsrp "
    "anonymous unknown unavailable restricted asterisk freeswitch opensips kamailio sipp mod_sofia".split()
)
"""User parts of clients and servers, in lower case."""
_UCID = re.compile(r"(?:\A|[0-9A-F]{2})FA08([0-9A-F]{16})", re.IGNORECASE)
"""Avaya's Universal Call ID in a User-to-User value: application id FA, length 8, then the id."""
_IDS = {
    "session-id": "session-id",
    "cisco-guid": "cisco-guid",
    "cisco-gucid": "cisco-gucid",
    "x-genesys-calluuid": "genesys-uuid",
    "x-broadworks-correlation-info": "broadworks-correlation",
    "x-audc-call-id": "audiocodes-call-id",
    "x-acme-call-id": "acme-call-id",
    "x-twilio-callsid": "twilio-call-sid",
    "x-cid": "x-cid",
    "x-genesys-gvp-session-id": "genesys-gvp-session",
}
"""Headers that name the recorded call in other systems, and our names for them."""
_REFERENCES = ("x-refci", "x-farendrefci", "x-nearendclusterid")
"""Parameters of Cisco's built-in bridge that link its two dialogs."""


class Role(StrEnum):
    """The part that somebody has in a call."""

    CALLER = "caller"
    CALLEE = "callee"
    ANSWERED = "answered"
    REDIRECTED_BY = "redirected_by"
    REDIRECTED_TO = "redirected_to"
    PARTICIPANT = "participant"


class Party(NamedTuple):
    """Somebody who took part in a call."""

    role: Role
    """What the message says; participant if it says nothing."""
    name: Personal[str] | None
    """Name without quotes; None if there is none."""
    number: Personal[str] | None
    """User part of the address if it is a telephone number."""
    uri: Personal[str] | None
    """Address of record as sent; None if there is none."""
    joined_at: datetime
    """When we first heard of this party, on our clock."""
    left_at: datetime | None
    """When it left, on our clock; None while present."""
    client_joined_at: datetime | None = None
    """When it joined, on the client's clock."""
    client_left_at: datetime | None = None
    """When it left, on the client's clock."""
    left_inferred: bool = False
    """Whether leaving was inferred: it was missing in a later snapshot, or the call ended."""
    also: tuple[Personal[str], ...] = ()
    """Further addresses and numbers of the same party."""


class Person(NamedTuple):
    """An address with what a message says about it."""

    uri: Personal[str]
    """Address as sent."""
    name: Personal[str] | None
    """Display name; None if there is none."""
    role: Role
    """Part in the call."""
    lines: tuple[int, ...] = ()
    """Indices of the m= lines with this person's voice, if a header names them."""


class HeaderFacts(NamedTuple):
    """What the headers of one request say about the recorded call."""

    talkers: tuple[Person, ...] = ()
    """Participants in headers made for that purpose (Cisco)."""
    fallback: tuple[Person, ...] = ()
    """From, To and the headers that override them, if they look like people; only count if nobody else is known."""
    identities: tuple[Person, ...] = ()
    """Addresses that may supply a known participant's name."""
    redirections: tuple[Person, ...] = ()
    """Who redirected the call, and to whom."""
    correlations: tuple[tuple[str, Personal[str]], ...] = ()
    """Names of the call in other systems: kind and value."""


def number_of(uri: Personal[str]) -> Personal[str] | None:
    """Return the telephone number of an address: its user part if that is digits with an optional plus, else None."""
    number = _number(uri.reveal())
    return None if number is None else Personal(number)


def is_placeholder(uri: Personal[str]) -> bool:
    """Return whether an address names nobody yet: no user part, or Avaya's ASBCE."""
    return _user(uri.reveal()) in ("", "ASBCE")


def same_address(one: Personal[str], other: Personal[str]) -> bool:
    """Return whether two addresses of record are equal: by user and host, not by scheme, port or parameters."""
    return _canonical(one.reveal()) == _canonical(other.reveal())


def address_hash(uri: Personal[str]) -> int:
    """Return a number for comparing addresses of record, which equal ones share; 0 for an empty one."""
    return hash(_canonical(uri.reveal()))


def tail_hash(number: Personal[str] | None) -> int:
    """Return a hash of the last digits of a number (`number_of`), which equal numbers share; 0 if there is none."""
    return hash((number.reveal() if number else "").lstrip("+").lstrip("0")[-MIN_SUFFIX:])


def same_number(one: Personal[str], other: Personal[str]) -> bool:
    """Return whether two addresses have the same number, even if one lacks the country or area code."""
    a, b = ((_number(uri.reveal()) or "").lstrip("+").lstrip("0") for uri in (one, other))
    if a == b:
        return bool(a)
    return min(len(a), len(b)) >= MIN_SUFFIX and (a.endswith(b) or b.endswith(a))


def _user(uri: str) -> str:
    text = uri.strip().strip("<>")
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() not in _SCHEMES:
        rest = text
    user, at, _ = rest.rpartition("@")
    user = (user if at else rest).partition(";")[0].partition("?")[0]
    if at:
        user = user.partition(":")[0]
    return unquote(user).strip() if "%" in user else user.strip()


def _number(uri: str) -> str | None:
    return _number_in(uri, _user(uri))


def _number_in(uri: str, user: str) -> str | None:
    if uri.lstrip("< ")[:4].lower() == "tel:":
        # In a tel URI these characters are not part of the number (RFC 3966 section 5.1.1).
        user = _SEPARATORS.sub("", user)
    return user if len(user) <= 40 and _is_digits(user) else None


def _is_digits(user: str) -> bool:
    return user.removeprefix("+").isdecimal() and user.isascii()


def _canonical(uri: str) -> str:
    text = uri.strip().strip("<>")
    _, at, place = text.rpartition("@")
    user = _user(text)
    user = _number_in(text, user) or user
    if not at:
        return user if _is_digits(user) else user.lower()
    place = place.partition(";")[0].partition("?")[0].lower()
    host = place[: place.find("]") + 1] if place.startswith("[") else place.partition(":")[0]
    return f"{user}@{host}"


def person(text: str, role: Role) -> Person | None:
    """Parse a header value with one address; None if it contains none."""
    try:
        return _of_address(NameAddr.parse_leniently(text[: MAX_ADDRESS * 2]), role)
    except SipError:
        return None


def _of_address(address: NameAddr, role: Role) -> Person | None:
    uri = address.uri.strip()[:MAX_ADDRESS]
    return Person(Personal(uri), clean_name(address.display), role) if _user(uri) else None


def written_person(value: Personal[str], role: Role) -> Person | None:
    """Parse an address as vendors write it in XML: a name-addr, or a bare address with its own parameters."""
    text = value.reveal()
    if "<" in text:
        return person(text, role)
    uri = text.strip()[:MAX_ADDRESS]
    return Person(Personal(uri), None, role) if _user(uri) else None


def plain(identity: Identity) -> Identity:
    """Return an address of record without the name and brackets that some clients add, as in a header.

    A value that is already an address stays unchanged, whatever follows it.
    """
    written = identity.uri.reveal()
    found = person(written, Role.PARTICIPANT) if "<" in written else None
    if found is None:
        return identity
    uri = found.uri.reveal()
    if "<" in uri or (_schemed(written) and not _schemed(uri)):
        return identity
    return Identity(found.uri, identity.name or found.name)


def _schemed(uri: str) -> bool:
    return uri.partition(":")[0].strip().lower() in _SCHEMES


def read_headers(request: Request) -> HeaderFacts:
    """Collect what the headers say. Never raise; unreadable values are ignored."""
    # Of two dozen fields only a few are present, so they are not looked up one by one.
    there = {name.lower() for name, _ in request.headers.items()}
    talkers = tuple(_cisco(request)) if "x-cisco-recording-participant" in there else ()
    talkers = talkers or tuple(_bridge(request))
    named = _identities(request, there)
    return HeaderFacts(
        talkers,
        () if talkers else tuple(_fallback(request, named)),
        tuple(named),
        tuple(_redirections(request)) if "diversion" in there or "history-info" in there else (),
        tuple(_correlations(request, there)),
    )


def _addresses(request: Request, name: str, role: Role) -> Iterator[tuple[NameAddr, Person]]:
    for raw in request.headers.values(name)[:MAX_FACTS]:
        try:
            address = NameAddr.parse_leniently(raw[: MAX_ADDRESS * 2])
        except SipError:
            continue
        if (found := _of_address(address, role)) is not None:
            yield address, found


def _cisco(request: Request) -> Iterator[Person]:
    """Read CUBE's network-based recording: one header per participant, with the indices of its m= lines."""
    for address, found in _addresses(request, "X-Cisco-Recording-Participant", Role.PARTICIPANT):
        words = (address.param("media-index") or "").replace(",", " ").split()[:MAX_FACTS]
        lines = tuple(int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 5)
        yield found._replace(lines=lines)


def _bridge(request: Request) -> Iterator[Person]:
    """Read CUCM's built-in bridge: From has both ends as parameters and says whose audio this dialog carries."""
    if "x-refci" not in (request.headers.get("From") or ""):
        return
    address = _one(request, "From")
    if address is None or "x-refci" not in address.uri:
        return
    values = _uri_params(address.uri)
    far = "x-farend" in values
    near_uri, found = address.uri.partition(";")[0], person(str(address), Role.PARTICIPANT)
    yield Person(Personal(near_uri), found.name if found else None, Role.PARTICIPANT, () if far else (0,))
    if values.get("x-farendaddr"):
        yield Person(Personal(values["x-farendaddr"][:MAX_ADDRESS]), None, Role.PARTICIPANT, (0,) if far else ())


def _uri_params(uri: str) -> dict[str, str]:
    pairs = (piece.partition("=") for piece in uri[: MAX_ADDRESS * 2].split(";")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _one(request: Request, name: str) -> NameAddr | None:
    raw = request.headers.get(name)
    try:
        return NameAddr.parse_leniently(raw) if raw else None
    except SipError:
        return None


def _sender(request: Request) -> Person | None:
    """Return who is named in From, which has been parsed already unless it breaks the grammar."""
    text = request.headers.get("From") or ""
    try:
        return _of_address(request.sender, Role.CALLER) if len(text) <= MAX_ADDRESS else person(text, Role.CALLER)
    except SipError:
        return person(text, Role.CALLER)


def _recipient(request: Request) -> NameAddr | None:
    """Return To, which has been parsed already unless it breaks the grammar."""
    try:
        return request.recipient
    except SipError:
        return _one(request, "To")


def _identities(request: Request, there: set[str]) -> list[Person]:
    found: list[Person] = []
    if "p-asserted-identity" in there:
        found += [who for _, who in _addresses(request, "P-Asserted-Identity", Role.CALLER)]
    if "remote-party-id" in there:
        for address, who in _addresses(request, "Remote-Party-ID", Role.CALLER):
            called = (address.param("party") or "").lower() == "called"
            found.append(Person(who.uri, who.name, Role.CALLEE if called else Role.CALLER))
    sender = _sender(request)
    return [who for who in (*found, sender) if who is not None and not _is_machine(who)]


def _fallback(request: Request, named: list[Person]) -> Iterator[Person]:
    """Return caller and callee if nothing else names people; see the rule at the top of this file."""
    recipient = _recipient(request)
    if recipient is None or recipient.tag:
        return
    target = _of_address(recipient, Role.CALLEE)
    caller = next((who for who in named if who.role is Role.CALLER and _looks_human(who)), None)
    if caller is not None:
        yield caller
    called = [who for who in named if who.role is Role.CALLEE]
    if target is not None and not same_address(target.uri, Personal(request.uri)):
        called.append(target)
    callee = next((who for who in called if _looks_human(who)), None)
    if callee is not None and (caller is None or not same_address(callee.uri, caller.uri)):
        yield callee


def _is_machine(who: Person) -> bool:
    return _user(who.uri.reveal()).lower() in _MACHINES


def _looks_human(who: Person) -> bool:
    if _is_machine(who):
        return False
    uri = who.uri.reveal()
    number, (scheme, colon, _) = _number(uri), uri.partition(":")
    if number is None and "@" not in uri and colon and scheme.lower() in _SCHEMES:
        return False
    return who.name is not None or (number is not None and len(_user(uri)) > 2)


def _redirections(request: Request) -> Iterator[Person]:
    for _, found in _addresses(request, "Diversion", Role.REDIRECTED_BY):
        yield found
    history = [entry for _, entry in _addresses(request, "History-Info", Role.REDIRECTED_BY)]
    ours = {_canonical(request.uri), _canonical(request.headers.get("To") or "")}
    for entry, following in pairwise(history):
        uri, target = entry.uri.reveal(), following.uri.reveal()
        # An entry was redirected if it has a reason, or if the next entry says what caused it.
        if "?reason=" in uri.lower() or ";cause=" in target.lower():
            yield Person(Personal(uri.partition("?")[0]), entry.name, Role.REDIRECTED_BY)
            if following is history[-1] and _canonical(target) not in ours:
                yield Person(Personal(target.partition("?")[0]), following.name, Role.REDIRECTED_TO)


def _correlations(request: Request, there: set[str]) -> Iterator[tuple[str, Personal[str]]]:
    for header, kind in () if there.isdisjoint(_IDS) else _IDS.items():
        value = "".join((request.headers.get(header) or "").split())
        if value:
            yield kind, Personal(value[:MAX_ADDRESS])
    for raw in request.headers.all("User-to-User")[:MAX_FACTS]:
        yield from ucid(Personal(raw))
    sender = request.headers.get("From") or ""
    values = _uri_params(sender) if "x-" in sender.lower() else {}
    for name in _REFERENCES:
        if values.get(name):
            yield name, Personal(values[name].partition(">")[0][:MAX_ADDRESS])


def ucid(text: Personal[str]) -> Iterator[tuple[str, Personal[str]]]:
    """Return Avaya's call id from a User-to-User value or a vendor's copy of one, as 16 hexadecimal digits."""
    value = text.reveal().partition(";")[0].strip()[:MAX_ADDRESS]
    found = _UCID.match(value)
    if found:
        yield "ucid", Personal(found[1].upper())
    elif value:
        yield "ucid" if len(value) == 16 else "user-to-user", Personal(value)
