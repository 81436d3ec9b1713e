"""What vendors' extension data say about people: a table of words, found in the paths of `sip.siprec.document`.

No vendor's schema is implemented as a whole. A word in a path means the same for every vendor: `callingPartyNumber`
(BroadWorks, Metaswitch), `callingnumber` (jambonz), `callingParty` (Oracle: true or false; NetSapiens: an id),
`fromhdr` (Ribbon). Nothing is inferred from the order of elements or streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from personal import Personal
from sip.siprec.document import MAX_NAME, MAX_PATH, Document, Extension
from sip.siprec.parties import Person, Role, ucid, written_person

MAX_PATHS = 1024
"""Parsed paths kept: a client uses the same ones in every document."""

_ROLES = {
    "callingparty": Role.CALLER,
    "callingpartynumber": Role.CALLER,
    "callingnumber": Role.CALLER,
    "caller": Role.CALLER,
    "callernumber": Role.CALLER,
    "fromhdr": Role.CALLER,
    "calledparty": Role.CALLEE,
    "calledpartynumber": Role.CALLEE,
    "callednumber": Role.CALLEE,
    "callee": Role.CALLEE,
    "calleenumber": Role.CALLEE,
    "dialeddigits": Role.CALLEE,
    "tohdr": Role.CALLEE,
    "answeredparty": Role.ANSWERED,
    "answeringparty": Role.ANSWERED,
    "connectedparty": Role.ANSWERED,
    "answeredby": Role.ANSWERED,
    "redirectedfrompartynumber": Role.REDIRECTED_BY,
    "lastredirectnumber": Role.REDIRECTED_BY,
    "origcallednumber": Role.REDIRECTED_BY,
    "redirectedby": Role.REDIRECTED_BY,
    "redirectingparty": Role.REDIRECTED_BY,
    "redirectedfrom": Role.REDIRECTED_BY,
    "redirectedtopartynumber": Role.REDIRECTED_TO,
    "redirectedto": Role.REDIRECTED_TO,
}
"""Words for a role, in lower case."""
_RECORDED = frozenset(("userid", "initiator", "recordedparty"))
"""Words for the recorded user (BroadWorks, Metaswitch)."""
_SIDES = {"origcall": Role.CALLER, "originating": Role.CALLER, "termcall": Role.CALLEE, "terminating": Role.CALLEE}
"""Words for that user's side of the call."""
_NAMES = {"callerdisplayname": Role.CALLER, "calleedisplayname": Role.CALLEE}
"""Words for a name that belongs to a role (Twilio's parameters)."""
_IDS = {
    "ucid": "ucid",
    "avayaucid": "ucid",
    "genesysuuid": "genesys-uuid",
    "exttrackingid": "ext-tracking-id",
    "gcid": "gcid",
    "callsid": "call-sid",
    "callid": "call-id",
    "newexttrackingid": "ext-tracking-id",
    "recordingid": "recording-id",
}
"""Words for a name of the call in another system, and our names for them."""
_WAY = "{http://jambonz.org/siprec}direction"
"""The direction of the call as jambonz writes it; other vendors may use the word differently."""
WORDS = frozenset(("header", "parameter", "calltype", "direction", *_ROLES, *_RECORDED, *_SIDES, *_IDS))
"""All words that are looked for in a path; most data that vendors send have none."""


Direction = Literal["inbound", "outbound"]
"""Which way a call went, seen from the user who is recorded."""


_DIRECTIONS: Mapping[str, Direction] = {"inbound": "inbound", "outbound": "outbound"}


@dataclass(slots=True)
class VendorFacts:
    """What the extensions of one document say."""

    roles: dict[str, Role] = field(default_factory=dict, repr=False)
    """Participant id to its role."""
    people: list[Person] = field(default_factory=list)
    """Addresses with a role, to be matched with participants."""
    recorded: list[Personal[str]] = field(default_factory=list)
    """Addresses of the recorded user."""
    side: Role | None = None
    """The role of that user."""
    names: dict[Role, Personal[str]] = field(default_factory=dict)
    """Names by role."""
    tracks: dict[str, Role] = field(default_factory=dict)
    """Stream label to the role of who is heard in it."""
    aliases: list[tuple[str, Person]] = field(default_factory=list, repr=False)
    """Participant id and what else is known: a name, a further address."""
    correlations: list[tuple[str, Personal[str]]] = field(default_factory=list)
    """Names of the call in other systems."""
    way: Direction | None = None
    """Where the vendor says it in this word."""

    @property
    def direction(self) -> Direction | None:
        """Which way the call went, seen from the user who is recorded: inbound, outbound, None if nothing says so."""
        if self.side in (Role.CALLER, Role.CALLEE):
            return "outbound" if self.side is Role.CALLER else "inbound"
        if self.way is not None:
            return self.way
        if "inbound" in self.tracks:
            return "inbound" if self.tracks["inbound"] is Role.CALLER else "outbound"
        return None


def read_extensions(document: Document) -> VendorFacts:
    """Read the extensions of a document."""
    hints = VendorFacts()
    label = ""
    for extension in document.extensions:
        steps = _known_steps(extension.path) if len(extension.path) <= MAX_PATH else ()
        if not steps:
            continue
        if steps[-1].startswith(("header@label", "parameter@name")):
            label = extension.value.reveal().lower()
        elif steps[-1] == "parameter@value":
            _parameter(hints, label, extension.value)
        elif "header" in steps[:-1]:
            _header(hints, extension, label)
        else:
            _word(hints, extension, steps)
    return hints


@lru_cache(MAX_PATHS)
def _known_steps(path: str) -> tuple[str, ...]:
    """Return the names along a path, in lower case without namespaces; empty if none of our words is in it."""
    steps = tuple(step.rpartition("}")[2] for step in _steps(path.lower()))
    return () if WORDS.isdisjoint(step.partition("@")[0] for step in steps) else steps


def _steps(path: str) -> list[str]:
    # A namespace may contain slashes; usually only the first step has one.
    steps: list[str] = []
    step: list[str] = []
    depth = 0
    for piece in path.split("/"):
        step.append(piece)
        depth += piece.count("{") - piece.count("}")
        if depth <= 0:
            steps.append("/".join(step))
            step, depth = [], 0
    return [*steps, "/".join(step)] if step else steps


def _word(hints: VendorFacts, extension: Extension, steps: tuple[str, ...]) -> None:
    last, _, attribute = steps[-1].partition("@")
    for step in steps[:-1]:
        hints.side = hints.side or (_SIDES.get(step) if "user" not in steps else None)
    if attribute:
        if attribute == "participant_id" and last in _ROLES:
            hints.roles.setdefault(extension.value.reveal(), _ROLES[last])
        return
    if last == "direction":
        if extension.path.lower().endswith(_WAY):
            hints.way = _DIRECTIONS.get(extension.value.reveal().strip().lower(), hints.way)
    elif last == "calltype" and "user" not in [step.partition("@")[0] for step in steps[:-1]]:
        hints.side = _SIDES.get(extension.value.reveal().lower(), hints.side)
    elif last in _RECORDED:
        hints.recorded.append(extension.value)
    elif last in _IDS:
        hints.correlations.extend(_id(_IDS[last], extension.value))
    elif last in _ROLES and len(steps) < 6:
        _role(hints, extension, _ROLES[last])


def _id(kind: str, value: Personal[str]) -> Iterator[tuple[str, Personal[str]]]:
    if kind == "ucid":
        yield from (("ucid", found) for _, found in ucid(value))
    else:
        yield kind, value


def _role(hints: VendorFacts, extension: Extension, role: Role) -> None:
    said = extension.value.reveal().lower()
    if said in ("true", "false") and extension.kind == "participant":
        # Oracle marks each of the two parties: callingParty true, callingParty false.
        hints.roles.setdefault(extension.parent, role if said == "true" else Role.CALLEE)
        return
    found = written_person(extension.value, role)
    if found is not None:
        hints.people.append(found)


def _header(hints: VendorFacts, extension: Extension, label: str) -> None:
    """Read a header of the recorded call that an SBC copied into the metadata."""
    if label == "diversion":
        found = written_person(extension.value, Role.REDIRECTED_BY)
        if found is not None:
            hints.people.append(found)
    elif label in ("p-asserted-identity", "remote-party-id") and extension.kind == "participant":
        found = written_person(extension.value, Role.PARTICIPANT)
        if found is not None:
            hints.aliases.append((extension.parent, found))
    elif label in ("user-to-user", "ucid"):
        hints.correlations.extend(_id("ucid", extension.value))


def _parameter(hints: VendorFacts, label: str, value: Personal[str]) -> None:
    """Read a parameter of Twilio, chosen by whoever set up the call: only names seen in use have a meaning."""
    if label in _NAMES:
        hints.names.setdefault(_NAMES[label], Personal(value.reveal()[:MAX_NAME]))
    elif label in ("role", "direction") and (way := value.reveal().lower()) in ("inbound", "outbound"):
        # The inbound track holds the far side of a call that this parameter calls inbound or outbound.
        far, near = (Role.CALLER, Role.CALLEE) if way == "inbound" else (Role.CALLEE, Role.CALLER)
        hints.tracks = {"inbound": far, "outbound": near}
    elif label in _ROLES:
        found = written_person(value, _ROLES[label])
        if found is not None:
            hints.people.append(found)
    elif label == "callsid":
        hints.correlations.append(("twilio-call-sid", value))
