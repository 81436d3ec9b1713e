"""Parse recording metadata (RFC 7865 and earlier forms) into a document; never raise.

The same code reads four generations, with elements in any order and with any prefix:

* RFC 7865: `recording`, ids in `participant_id`, `session_id`, `stream_id`; associations as separate elements;
* its drafts (Oracle, AudioCodes, Ribbon, Metaswitch): the same names under `urn:ietf:params:xml:ns:recording`, or ids
  in `id` and `session`, `send` and `recv` inside the participant;
* BroadWorks and Webex: `recording_metadata`, `<aor>` as an element, `<send><id>`;
* anything else called `recording`: the namespace of the root counts as that of the metadata.

Everything else is an extension: kept as path and text, with the element that contains it, unless the caller knows
which names it understands: most of what vendors send means nothing to us.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from personal import Personal
from sip.siprec.timestamps import parse_time
from sip.siprec.xml_reader import Damage, Node, read
from sip.siprec.xml_recovery import repair

MAX_ITEMS = 512
"""Elements of one kind in one document; a conference of 200 participants needs 400 associations."""
MAX_PATH = 1_024
"""Characters in the path of a piece of extension data; no vendor has a longer namespace."""
MAX_EXTENSIONS = 256
"""Pieces of extension data in one document; the richest vendor sends 35."""
MAX_WRAPPERS = 3
"""Levels below the outermost element at which the metadata are searched."""
MAX_ID = 256
"""Characters of an identifier; the longest seen (a Call-ID) has 62."""
MAX_NAME = 256
"""Characters of a name."""

_NAMESPACES = frozenset(
    ("", "urn:ietf:params:xml:ns:recording:1", "urn:ietf:params:xml:ns:recording", "urn:ietf:params:xml:ns:siprec")
)
_ROOTS = ("recording_metadata", "recording")
_BREAK = re.compile(r"\s*[\r\n\t]\s*")


class Stamp(NamedTuple):
    """A time as the client wrote it."""

    raw: str
    """Text as sent."""
    at: datetime | None
    """The same, timezone-aware; None if it is no time."""


class Group(NamedTuple):
    """A communication session group (RFC 7865 section 6.2)."""

    id: str
    """As sent."""


class Session(NamedTuple):
    """A communication session (RFC 7865 section 6.3)."""

    id: str
    """As sent, without surrounding blanks."""
    sip_session_ids: tuple[str, ...] = ()
    """sipSessionID elements, without blanks and line ends."""
    started: Stamp | None = None
    """start-time, or the time it was associated."""
    stopped: Stamp | None = None
    """stop-time, or end-time as Cisco calls it."""


class Identity(NamedTuple):
    """One address of a participant with its name (RFC 7865 section 6.5)."""

    uri: Personal[str]
    """Address of record as sent; may be empty."""
    name: Personal[str] | None
    """Name without surrounding quotes and blanks; None if empty."""


class Participant(NamedTuple):
    """A participant element (RFC 7865 section 6.5)."""

    id: str
    """As sent; its first address if the id is missing."""
    identities: tuple[Identity, ...] = ()
    """In document order."""

    def __repr__(self) -> str:
        # Some clients take a number for the id.
        return f"Participant(identities={self.identities!r})"


class Stream(NamedTuple):
    """A media stream element (RFC 7865 section 6.8)."""

    id: str
    """As sent; empty if the client has none yet."""
    label: str | None = None
    """Label that links it to the SDP: the attribute media_label, or the element label."""
    mixed: bool = False
    """Whether the client says that it contains several voices."""
    session: str = ""
    """Id of its session; empty if the client does not say."""


class StreamLink(NamedTuple):
    """What a participant sends and receives from now on (RFC 7865 section 6.9)."""

    participant: str
    """Id of the participant."""
    send: tuple[str, ...]
    """Ids of streams that contain this participant's voice."""
    recv: tuple[str, ...]
    """Ids of streams that this participant hears."""
    inside: bool = False
    """Whether it is inside the participant element (drafts, BroadWorks)."""
    ended: bool = False
    """Whether it has a disassociate-time: the participant no longer sends and receives them."""

    def __repr__(self) -> str:
        return f"StreamLink(send={self.send!r}, recv={self.recv!r}, inside={self.inside}, ended={self.ended})"


class SessionLink(NamedTuple):
    """When a participant joined or left a session (RFC 7865 section 6.7)."""

    participant: str
    """Id of the participant."""
    session: str
    """Id of the session; unreliable (Cisco repeats the participant's)."""
    joined: Stamp | None = None
    """associate-time."""
    left: Stamp | None = None
    """disassociate-time; if present, the participant has left."""

    def __repr__(self) -> str:
        return f"SessionLink(joined={self.joined!r}, left={self.left!r})"


class Extension(NamedTuple):
    """One text or attribute of an extension element (RFC 7865 section 5)."""

    kind: str
    """Element that contains it: recording, group, session, participant or stream."""
    parent: str
    """Id of that element; empty for the recording itself."""
    path: str
    """Local names from there on; the first with its namespace in braces, an attribute after @."""
    value: Personal[str]
    """Text without surrounding blanks; never empty."""

    def __repr__(self) -> str:
        return f"Extension(kind={self.kind!r}, path={self.path!r}, value={self.value!r})"


@dataclass(slots=True)
class Document:
    """One metadata document."""

    damaged: Damage = Damage.NONE
    """What is wrong with it."""
    partial: bool = False
    """Whether it is an update to be merged, not a new snapshot (RFC 7865 section 6.1)."""
    groups: tuple[Group, ...] = ()
    """In document order, like all that follow."""
    sessions: tuple[Session, ...] = ()
    """Sessions with an id."""
    participants: tuple[Participant, ...] = ()
    """Participants."""
    streams: tuple[Stream, ...] = ()
    """Streams."""
    stream_links: tuple[StreamLink, ...] = ()
    """Who sends and receives which streams."""
    session_links: tuple[SessionLink, ...] = ()
    """Who takes part, from when to when."""
    extensions: tuple[Extension, ...] = ()
    """Everything else; if `parse` was given words, only foreign elements with one of these names in them."""


def parse(raw: bytes, words: Set[str] | None = None) -> Document:
    """Parse rs-metadata. Never raise: `damaged` says what was wrong, and everything readable is returned.

    `words`: names in lower case; a foreign element is left out if neither it nor anything below it has one of them.
    """
    reading = read(raw, repair)
    root = _root(reading.root)
    if root is None:
        return Document(damaged=reading.damage or Damage.UNREADABLE)
    return _Reader(root, words).document(reading.damage)


def clean_name(text: str) -> Personal[str] | None:
    """Return a name without surrounding quotes and blanks; None if nothing is left."""
    # Shorten first, since quotes are removed pair by pair.
    name = _BREAK.sub(" ", text[: MAX_NAME * 4]).strip()
    while len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1].strip()
    name = name[:MAX_NAME].strip('"').strip()
    return Personal(name) if name else None


def _root(node: Node | None) -> Node | None:
    """Find the metadata: the outermost element, or one wrapped in others (a SOAP envelope has two levels)."""
    if node is None or node.name.lower() in _ROOTS:
        return node
    level = node.children
    for _ in range(MAX_WRAPPERS):
        found = next((child for child in level if child.name.lower() in _ROOTS), None)
        if found is not None:
            return found
        level = [inner for child in level for inner in child.children]
    return None


def _text(node: Node | None, limit: int = MAX_ID) -> str:
    return node.text.strip()[:limit] if node is not None else ""


def _names(node: Node, words: Set[str]) -> bool:
    """Return whether an element, or one below it, has one of these names."""
    found = [node]
    for each in found:
        if each.name.lower() in words:
            return True
        found += each.children
    return False


def _id(node: Node, *names: str) -> str:
    for name in names:
        value = node.attributes.get(name)
        if value is not None:
            return value.strip()[:MAX_ID]
    return ""


def _stamp(node: Node | None) -> Stamp | None:
    raw = _text(node)
    return Stamp(raw, parse_time(raw)) if raw else None


class _Reader:
    __slots__ = (
        "_extensions",
        "_groups",
        "_participants",
        "_root",
        "_session_links",
        "_sessions",
        "_spaces",
        "_stream_links",
        "_streams",
        "_words",
    )

    def __init__(self, root: Node, words: Set[str] | None) -> None:
        self._root = root
        self._words = words
        self._spaces = _NAMESPACES | {root.space}
        self._groups: list[Group] = []
        self._sessions: list[Session] = []
        self._participants: list[Participant] = []
        self._streams: list[Stream] = []
        self._stream_links: list[StreamLink] = []
        self._session_links: list[SessionLink] = []
        self._extensions: list[Extension] = []

    def document(self, damage: Damage) -> Document:
        mode = next((v for k, v in self._root.attributes.items() if k.lower() == "datamode"), "")
        for node in self._root.children:
            name = node.name.lower()
            handler = _HANDLERS.get(name)
            if node.space not in self._spaces:
                self._extend("recording", "", node)
            elif handler is not None:
                handler(self, node)
            elif name == "datamode":
                mode = node.text
            else:
                self._extend("recording", "", node)
        return Document(
            damage,
            mode.strip().lower() == "partial",
            tuple(self._groups[:MAX_ITEMS]),
            tuple(self._sessions[:MAX_ITEMS]),
            tuple(self._participants[:MAX_ITEMS]),
            tuple(self._streams[:MAX_ITEMS]),
            tuple(self._stream_links[:MAX_ITEMS]),
            tuple(self._session_links[:MAX_ITEMS]),
            tuple(self._extensions),
        )

    def _sort(self, node: Node, kind: str, parent: str, wanted: frozenset[str]) -> dict[str, Node]:
        """Return the first child of each wanted name; add everything foreign to the extensions."""
        found: dict[str, Node] = {}
        for child in node.children:
            name = child.name.lower()
            if child.space in self._spaces and name in wanted:
                found.setdefault(name, child)
            else:
                self._extend(kind, parent, child)
        return found

    def _group(self, node: Node) -> None:
        group = _id(node, "group_id", "id")
        self._sort(node, "group", group, _TIMES)
        if group:
            self._groups.append(Group(group))

    def _session(self, node: Node) -> None:
        session = _id(node, "session_id", "id")
        found = self._sort(node, "session", session, _SESSION)
        ids = tuple("".join(child.text.split())[:MAX_ID] for child in node.children if child.name == "sipSessionID")
        started = _stamp(found.get("start-time")) or _stamp(found.get("associate-time"))
        ends = (_stamp(found.get(name)) for name in ("stop-time", "end-time", "disassociate-time"))
        stopped = next(filter(None, ends), None)
        if session:
            self._sessions.append(Session(session, tuple(filter(None, ids)), started, stopped))

    def _recording_link(self, node: Node) -> None:
        self._sort(node, "recording", "", _TIMES)

    def _participant(self, node: Node) -> None:
        named = _id(node, "participant_id", "id")
        identities = [self._identity(child, named) for child in node.children if self._is(child, "nameid")]
        found = self._sort(node, "participant", named, _PARTICIPANT)
        if not identities and ("aor" in found or "name" in found):
            identities = [self._named("", found)]
        participant = named or next((identity.uri.reveal() for identity in identities if identity.uri), "")
        if not participant:
            return
        self._participants.append(Participant(participant, tuple(identities[:8])))
        if "send" in found or "recv" in found:
            self._link(node, participant, inside=True)
        if "associate-time" in found or "disassociate-time" in found:
            self._joins(participant, _id(node, "session", "session_id"), found)

    def _is(self, node: Node, name: str) -> bool:
        return node.space in self._spaces and node.name.lower() == name

    def _identity(self, node: Node, participant: str) -> Identity:
        uri = next((v for k, v in node.attributes.items() if k.lower() in ("aor", "uri")), "").strip()
        found = self._sort(node, "participant", participant, _NAME_ID)
        return self._named(uri, found)

    def _named(self, uri: str, found: dict[str, Node]) -> Identity:
        """Return an identity: its address from the attribute `uri` or the element, its name from the element."""
        name = clean_name(_text(found.get("name"), MAX_NAME * 4))
        return Identity(Personal(uri or _text(found.get("aor"), MAX_ID * 4)), name)

    def _stream(self, node: Node) -> None:
        stream = _id(node, "stream_id", "id")
        found = self._sort(node, "stream", stream, _STREAM)
        # One client puts a word into <label> and the SDP label into an attribute.
        label = _id(node, "media_label") or _text(found.get("label"))
        mixed, session = _text(found.get("mode")).lower() == "mixed", _id(node, "session_id", "session")
        self._streams.append(Stream(stream, label or None, mixed, session))

    def _stream_link(self, node: Node) -> None:
        participant = _id(node, "participant_id", "id")
        found = self._sort(node, "participant", participant, _LINK)
        if participant:
            self._link(node, participant, inside=False, ended=bool(_stamp(found.get("disassociate-time"))))

    def _link(self, node: Node, participant: str, *, inside: bool, ended: bool = False) -> None:
        ways: dict[str, list[str]] = {"send": [], "recv": []}
        for child in node.children:
            way = ways.get(child.name.lower())
            if way is not None and child.space in self._spaces:
                # BroadWorks wraps the ids: <send><id>...</id></send>.
                way.extend(filter(None, [_text(inner) for inner in (child, *child.children)]))
        send, recv = (tuple(dict.fromkeys(way[:MAX_ITEMS])) for way in ways.values())
        self._stream_links.append(StreamLink(participant, send, recv, inside, ended))

    def _session_link(self, node: Node) -> None:
        participant = _id(node, "participant_id", "id")
        found = self._sort(node, "participant", participant, _LINK)
        if participant:
            self._joins(participant, _id(node, "session_id", "session"), found)

    def _joins(self, participant: str, session: str, found: dict[str, Node]) -> None:
        joined, left = _stamp(found.get("associate-time")), _stamp(found.get("disassociate-time"))
        self._session_links.append(SessionLink(participant, session, joined, left))

    def _extension_data(self, node: Node) -> None:
        # BroadWorks names the owner of the extension in an attribute.
        parent = _id(node, "parent")
        self._extend("session" if parent else "recording", parent, node)

    def _extend(self, kind: str, parent: str, node: Node, path: str = "", space: str | None = None) -> None:
        """Keep a foreign element with everything below it. The element extensiondata itself has no meaning."""
        kept = self._extensions
        if len(kept) >= MAX_EXTENSIONS or not (path or self._words is None or _names(node, self._words)):
            return
        inner: str | None = node.space
        if not path and node.name.lower() == "extensiondata" and inner in self._spaces:
            inner, base = None, ""
        else:
            base = node.name if inner == space or inner in self._spaces else f"{{{inner}}}{node.name}"
            if path:
                base = f"{path}/{base}"
            for name, value in node.attributes.items():
                if value := value.strip():
                    kept.append(Extension(kind, parent, f"{base}@{name}", Personal(value)))
            if value := node.text.strip():
                kept.append(Extension(kind, parent, base, Personal(value)))
        for child in node.children:
            self._extend(kind, parent, child, base, inner)


_TIMES = frozenset(("associate-time", "disassociate-time"))
_SESSION = _TIMES | {"sipsessionid", "group-ref", "start-time", "stop-time", "end-time", "reason"}
_PARTICIPANT = _TIMES | {"nameid", "aor", "name", "send", "recv"}
_NAME_ID = frozenset(("name", "aor"))
_STREAM = _TIMES | {"label", "mode", "content-type"}
_LINK = _TIMES | {"send", "recv"}
_HANDLERS: dict[str, Callable[[_Reader, Node], None]] = {
    "group": _Reader._group,
    "session": _Reader._session,
    "sessionrecordingassoc": _Reader._recording_link,
    "participant": _Reader._participant,
    "participantsessionassoc": _Reader._session_link,
    "participantstreamassoc": _Reader._stream_link,
    "stream": _Reader._stream,
    "extensiondata": _Reader._extension_data,
}
