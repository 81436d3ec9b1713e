"""Parse small untrusted XML documents into a tree of nodes; never raise.

Sound documents are parsed by expat, without a DTD or entities of their own. What expat refuses is decoded as well as
possible and passed to `sip.siprec.xml_recovery`. A document with a DOCTYPE is not read at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from xml.parsers import expat

MAX_DOCUMENT = 262_144
"""Bytes read; real documents have 1 to 9 kB, a conference of 200 participants about 120 kB."""
MAX_DEPTH = 32
"""Levels kept; real documents have at most 8. Deeper elements are ignored."""
MAX_ELEMENTS = 8_192
"""Elements read; a conference of 200 participants has about 2,500."""
MAX_ATTRIBUTES = 32
"""Attributes kept of one element; real ones have at most 4."""
MAX_TEXT = 2_048
"""Characters kept of one text or attribute; the longest seen is a Request-URI of 520."""

_BLANK = b"\xef\xbb\xbf\x00 \t\r\n"
# XML 1.0 section 2.2.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_DOCTYPE = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_DECLARED = re.compile(rb"<\?xml[^>]{0,80}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_ENCODINGS = re.compile(
    r"(?:iso-?8859-?(?:1|2|5|7|9|15)|(?:windows-?|cp)125\d|latin-?1|koi8-r|gbk|gb18030|shift_jis)\Z"
)
"""Encodings that a document may declare besides UTF-8 and UTF-16; all are simple tables."""


class Damage(StrEnum):
    """How damaged a document is; the empty value is false."""

    NONE = ""
    UNESCAPED = "unescaped"
    """Not well-formed only in texts and attributes: every element is there."""
    REPAIRED = "repaired"
    """Not well-formed and repaired; an element may be missing."""
    CUT = "cut"
    """Over a limit, or its end is missing; its beginning was read."""
    REFUSED = "refused"
    """It has a DOCTYPE; nothing was read."""
    UNREADABLE = "unreadable"
    """It has no element that could be read."""


class Node:
    """One element. Names have no prefix; `space` is the namespace, empty if there is none."""

    __slots__ = ("attributes", "children", "name", "space", "text")

    def __init__(self, space: str, name: str, attributes: dict[str, str]) -> None:
        self.space = space
        self.name = name
        self.attributes = attributes
        self.text = ""
        self.children: list[Node] = []


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of `read`."""

    root: Node | None
    """The outermost element; None if there is none."""
    damage: Damage
    """What was wrong."""


class _Refused(Exception):
    pass


class _TooMuch(Exception):
    pass


Repair = Callable[[str], tuple[Node | None, Damage]]
"""Returns a tree, and what was wrong."""


def read(raw: bytes, repair: Repair) -> Reading:
    """Parse a document; if it is not well-formed, `repair` returns its tree. Never raise."""
    top = Node("", "", {})
    try:
        _grow(top, raw[:MAX_DOCUMENT].lstrip(_BLANK))
    except _Refused:
        return Reading(None, Damage.REFUSED)
    except _TooMuch:
        return Reading(top.children[0], Damage.CUT)
    except (expat.ExpatError, ValueError, LookupError):
        # ValueError and LookupError: encodings that expat leaves to Python's codecs.
        return _repaired(raw, repair)
    return Reading(top.children[0], Damage.CUT if len(raw) > MAX_DOCUMENT else Damage.NONE)


def _repaired(raw: bytes, repair: Repair) -> Reading:
    text = _ILLEGAL.sub("", decode(raw[:MAX_DOCUMENT]))
    if _DOCTYPE.search(text):
        return Reading(None, Damage.REFUSED)
    root, damage = repair(text)
    if root is None:
        return Reading(None, Damage.UNREADABLE)
    return Reading(root, Damage.CUT if len(raw) > MAX_DOCUMENT else damage)


def decode(data: bytes) -> str:
    """Decode by byte order mark, declared encoding, or what the bytes allow; replace bytes that fit nothing."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if data[:4] in (b"<\0?\0", b"<\0r\0"):
        return data.decode("utf-16-le", "replace")
    if data[:4] in (b"\0<\0?", b"\0<\0r"):
        return data.decode("utf-16-be", "replace")
    found = _DECLARED.search(data[:200])
    name = found[1].decode("ascii").lower() if found else "utf-8"
    try:
        return data.decode(name if _ENCODINGS.match(name) else "utf-8")
    except UnicodeDecodeError as fault:
        # Cut inside a character, or Latin-1 in a document that declares UTF-8 (or UTF-16, as some libraries do).
        return data.decode("utf-8" if fault.start >= len(data) - 3 else "cp1252", "replace")


def _grow(top: Node, data: bytes) -> None:
    """Let expat add the outermost element and everything below it to `top`, within the limits."""
    # Functions with local names: they run for every element, and cost half as much as methods.
    stack = [top]
    push, pop, elements = stack.append, stack.pop, 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal elements
        elements += 1
        if elements > MAX_ELEMENTS:
            raise _TooMuch
        space, _, local = name.rpartition("}")
        for key, value in attributes.items():
            if "}" in key or len(value) > MAX_TEXT or len(attributes) > MAX_ATTRIBUTES:
                attributes = limited(attributes)
                break
        node = Node(space, local, attributes)
        if len(stack) <= MAX_DEPTH:
            stack[-1].children.append(node)
        # Deeper elements are attached to nothing and dropped when they end.
        push(node)

    def end(_name: str) -> None:
        pop()

    def text(piece: str) -> None:
        node = stack[-1]
        if not node.text:
            # Indentation before a child is not worth keeping.
            node.text = piece.lstrip()[:MAX_TEXT]
        elif len(node.text) < MAX_TEXT:
            node.text = (node.text + piece)[:MAX_TEXT]

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError:
        # Text after the root element (a boundary line, zero bytes) does no harm.
        if not top.children or len(stack) > 1:
            raise


def _refuse(*_declaration: object) -> None:
    raise _Refused


def limited(attributes: dict[str, str]) -> dict[str, str]:
    """Return attributes within the limits, with names without namespace."""
    kept = list(attributes.items())[:MAX_ATTRIBUTES]
    return {name.rpartition("}")[2]: value[:MAX_TEXT] for name, value in kept}
