"""Parse XML that is not well-formed, as session recording clients send it.

Seen in practice: unescaped `<sip:...>` and `&` in text, attributes without quotes, a misspelt tag, a document that ends
in the middle, an undeclared prefix. The parser below treats what looks like a tag as a tag and everything else as text,
and closes what is open. A text without an end may be half a name, so it is dropped. It needs one pass, keeps to the
limits of `sip.siprec.xml_reader`, and cannot fail.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from html import unescape

from sip.siprec.xml_reader import MAX_ATTRIBUTES, MAX_DEPTH, MAX_ELEMENTS, MAX_TEXT, Damage, Node

MAX_TYPOS = 8
"""Misspelt tags corrected in one document; one was seen, more is noise."""
SIMILAR = 0.6
"""difflib ratio from which two tag names count as one; the case seen, `naSRCme` and `name`, has 0.73."""

_TAG = re.compile(r"<(/?)\s*+([A-Za-z_][\w.\-]*+(?::[A-Za-z_][\w.\-]*+)?)")
_SIGN = re.compile(r"<(?=[!?/\sA-Za-z_])")
"""What may begin a tag, a comment or a section."""
_END = re.compile(r"</([A-Za-z_][\w.\-]*+)>")
"""The usual form of an end tag."""
_ATTRIBUTE = re.compile(
    r"\s*+([A-Za-z_][\w.:\-]*+)\s*+=\s*+"
    r"(?:\"((?:[^\"<]|<(?=(?:sips?|tel):))*+)\"|'((?:[^'<]|<(?=(?:sips?|tel):))*+)'|((?:[^\s\"'<>/]|/(?!>))++))"
)
"""A < in a value is an unescaped address, or a tag after a quote that was never closed."""
_CLOSE = re.compile(r"\s*+(/?)>")
_PREFIX = re.compile(r"xmlns(?::([\w.\-]+))?\Z")
_ADDRESS = frozenset(("sip", "sips", "tel", "urn", "mailto", "im", "pres"))
"""Schemes: `<sip:alice>` is an address in angle brackets, not a tag, unless the prefix was declared."""
_WORDS = frozenset(
    "datamode group session participant nameid name aor stream label send recv sessionrecordingassoc associate-time "
    "participantsessionassoc participantstreamassoc disassociate-time start-time stop-time extensiondata".split()
)
"""Names of the schema, in lower case: if two spellings differ, the one listed here is right."""
_SECTIONS = (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"))


def repair(text: str) -> tuple[Node | None, Damage]:
    """Return the tree of a document that is not well-formed (None if it has no tag), and what was wrong."""
    reader = _Reader(text)
    reader.run()
    reader.close()
    if not reader.ended:
        return reader.root, Damage.CUT
    return reader.root, Damage.UNESCAPED if reader.sound else Damage.REPAIRED


class _Reader:
    __slots__ = ("_elements", "_last", "_open", "_spaces", "_text", "_typos", "root", "sound")

    def __init__(self, text: str) -> None:
        self.root: Node | None = None
        self.sound = True  # every tag is complete and matched: nothing was ignored
        self._text = text
        self._last = text.rfind(">")
        self._open: list[tuple[Node, str, dict[str, str]]] = []
        self._spaces: dict[str, str] = {}
        self._elements = 0
        self._typos = 0

    @property
    def ended(self) -> bool:
        """Whether every element was closed, including the root."""
        return self.root is not None and not self._open

    def run(self) -> None:
        """Parse the text in one pass, tag by tag."""
        text, at = self._text, 0
        while self.root is None or self._open:
            found = _SIGN.search(text, at)
            sign = found.start() if found else -1
            self._append(text[at : sign if sign >= 0 else len(text)])
            if sign < 0 or self._elements > MAX_ELEMENTS or len(self._open) > MAX_DEPTH:
                return
            at = self._markup(sign)
        # Text after the end of the root is ignored.
        self.sound = self.sound and _TAG.search(text, at) is None

    def close(self) -> None:
        """Drop the text in which the document ends: half a name, label or id would be a different one."""
        if self._open:
            self._open[-1][0].text = ""

    def _markup(self, at: int) -> int:
        """Process one tag, comment or section and return the position after it. A < that begins none is text."""
        if end := _END.match(self._text, at):
            self._end(end[1])
            return end.end()
        if self._text.startswith(("!", "?"), at + 1):
            return self._section(at)
        found = _TAG.match(self._text, at)
        if found is None:
            return self._literal(at)
        if self._text.startswith("<", found.end()) and ":" not in found[2]:
            # A short cut for the usual junk; the steps below would give the same result.
            self.sound = False
            return self._literal(at)
        attributes, place = self._attributes(found.end())
        end = _CLOSE.match(self._text, place)
        if self._is_address(found[2], attributes):
            # An address has no attributes and no end tag, so this may be a tag with an undeclared prefix.
            self.sound = self.sound and not (found[1] or attributes)
            return self._literal(at)
        if end is None:
            # A number after a scheme, <sip:4711@…>, is an address as well.
            number = found[2].lower() in _ADDRESS and self._text.startswith(":", found.end())
            self.sound = self.sound and number
            return self._literal(at)
        if found[1]:
            self._end(found[2])
        else:
            self._start(found[2], attributes, empty=bool(end[1]))
        return end.end()

    def _section(self, at: int) -> int:
        for opening, closing in _SECTIONS:
            if self._text.startswith(opening, at):
                end = self._text.find(closing, at)
                # Without an end, the rest belongs to it.
                end = len(self._text) if end < 0 else end
                if opening == "<![CDATA[":
                    self._append(self._text[at + len(opening) : end], raw=True)
                return end + len(closing)
        return self._literal(at)

    def _literal(self, at: int) -> int:
        if at > self._last:
            # The document ends inside a tag; half a tag is not text.
            return len(self._text)
        self._append("<")
        return at + 1

    def _append(self, text: str, *, raw: bool = False) -> None:
        if text and self._open:
            node = self._open[-1][0]
            if len(node.text) < MAX_TEXT:
                text = text[:MAX_TEXT]
                node.text = (node.text + (text if raw else unescape(text)))[:MAX_TEXT]

    def _attributes(self, place: int) -> tuple[dict[str, str], int]:
        values: dict[str, str] = {}
        while found := _ATTRIBUTE.match(self._text, place):
            value = next(piece for piece in found.groups()[1:] if piece is not None)
            if len(values) < MAX_ATTRIBUTES:
                values.setdefault(found[1], unescape(value[:MAX_TEXT]))
            place = found.end()
        return values, place

    def _is_address(self, name: str, attributes: dict[str, str]) -> bool:
        prefix, colon, _ = name.partition(":")
        declared = prefix in self._spaces or f"xmlns:{prefix}" in attributes
        return bool(colon) and prefix.lower() in _ADDRESS and not declared

    def _start(self, name: str, attributes: dict[str, str], *, empty: bool) -> None:
        self._elements += 1
        outer = self._spaces
        declared = {m[1] or "": v for k, v in attributes.items() if (m := _PREFIX.match(k))}
        if declared:
            self._spaces = {**outer, **declared}
        prefix, _, local = name.rpartition(":")
        kept = {k.rpartition(":")[2]: v for k, v in attributes.items() if not _PREFIX.match(k)}
        # An undeclared prefix is its own namespace.
        node = Node(self._spaces.get(prefix, prefix), local, kept)
        if self._open:
            self._open[-1][0].children.append(node)
        elif self.root is None:
            self.root = node
        if empty:
            self._spaces = outer
        else:
            self._open.append((node, name, outer))

    def _end(self, name: str) -> None:
        names = [entry[1] for entry in self._open]
        self.sound = self.sound and names[-1:] == [name]
        if name in names:
            while self._pop() != name:
                pass
        elif names and self._is_typo(names[-1], name):
            node = self._open[-1][0]
            local = name.rpartition(":")[2]
            if local.lower() in _WORDS and node.name.lower() not in _WORDS:
                node.name = local
            self._pop()

    def _pop(self) -> str:
        _, name, self._spaces = self._open.pop()
        return name

    def _is_typo(self, opened: str, closed: str) -> bool:
        self._typos += 1
        if self._typos > MAX_TYPOS or max(len(opened), len(closed)) > 64:
            return False
        return SequenceMatcher(None, opened.lower(), closed.lower(), autojunk=False).ratio() >= SIMILAR
