"""Parts of the grammar of RFC 3261 section 25, and all size limits of SIP messages.

Header text is UTF-8 with surrogate escapes, so that every byte is echoed unchanged. `readable` turns it into text that
can be stored or shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_START_LINE = 8_192
"""Characters of a start line: RFC 4475 has 1.5 kB; HTTP servers use 8 kB."""
MAX_HEAD = 65_536
"""Bytes of start line and header fields together: the most that a datagram can hold."""
MAX_FIELDS = 400
"""Header fields of a message: RFC 4475 `longreq` has 45, chains of SBCs stay below 100."""
MAX_LIST = 200
"""Elements of one comma-separated list (Via, Route): RFC 3261 allows 70 hops."""
MAX_BODY = 8 * 1024 * 1024
"""Bytes of a body on a stream: metadata of 4 MiB must be accepted."""
MAX_PARAMS = 128
"""Parameters of one value: the longest seen is 11."""
MAX_CSEQ = 2**31 - 1
"""RFC 3261 section 8.1.1.5: less than 2**31."""
MAX_FORWARDS = 255
"""RFC 3261 section 20.22."""

BLANKS = " \t\r\n"
"""Linear white space; other Unicode blanks are text."""
TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
"""A token (RFC 3261 section 25.1)."""
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
"""URI scheme with its colon."""
_SHELL = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|<[^>]*(?:>|\Z)', re.DOTALL)
"""A quoted string or <...>, closed or running to the end, so that every scan is linear."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*("|\\?\Z)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_EMPTY = re.compile(r"[;,][ \t]*[;,]")
_BARE = re.compile(r'[^ \t\r\n";,<>\\]+')
"""Parameter value that needs no quotes: tokens, hosts and bracketed addresses."""
_BROKEN_BYTE = re.compile("[\udc80-\udcff]")
_LF_END = re.compile(rb"\r?\n\r?\n")

Params = tuple[tuple[str, str | None], ...]
"""Parameters in order: name in lower case; value, or None without one."""


def head_end(data: bytes | bytearray, searched: int = 0) -> tuple[int, int] | None:
    """Return where the head ends and where the body begins; None if there is no blank line after `searched`.

    If the first line ends in a bare LF (illegal, but seen), the head may end with bare LFs too. Otherwise only CRLF
    CRLF counts, so that two parsers of one stream always agree.
    """
    first = data.find(b"\n")
    start = max(0, searched - 3)
    if first > 0 and data[first - 1] != 0x0D:
        found = _LF_END.search(data, start)
        return (found.start(), found.end()) if found else None
    end = data.find(b"\r\n\r\n", start)
    return (end, end + 4) if end >= 0 else None


def readable(text: str) -> str:
    """Decode bytes that were not UTF-8 as Latin-1, which old devices often send."""
    if text.isascii():
        return text
    return _BROKEN_BYTE.sub(lambda found: chr(ord(found[0]) - 0xDC00), text)


def cut(text: str, separator: str) -> list[str]:
    """Split at a separator outside quoted strings and <>; strip the elements and drop empty ones."""
    if separator not in text:
        piece = text.strip(BLANKS)
        return [piece] if piece else []
    if '"' not in text and "<" not in text:
        return [piece for raw in text.split(separator) if (piece := raw.strip(BLANKS))]
    return [piece for raw in _pieces(text, separator) if (piece := raw.strip(BLANKS))]


def _pieces(text: str, separator: str) -> Iterator[str]:
    start = begin = 0
    for shell in _SHELL.finditer(text):
        while (at := text.find(separator, begin, shell.start())) >= 0:
            yield text[start:at]
            start = begin = at + 1
        begin = shell.end()
    rest = text[begin:].split(separator)
    yield text[start:begin] + rest[0]
    yield from rest[1:]


def params(text: str) -> Params:
    """Parse `;name=value;flag` into pairs: names in lower case, values unquoted, order and repeats kept."""
    found: list[tuple[str, str | None]] = []
    for piece in cut(text, ";")[:MAX_PARAMS] if text else ():
        name, equals, value = piece.partition("=")
        found.append((name.rstrip(BLANKS).lower(), unquote(value.lstrip(BLANKS)) if equals else None))
    return tuple(found)


def write_params(pairs: Params) -> str:
    """Write pairs as `;name=value;flag`; quote values that are no token."""
    text = ""
    for name, value in pairs:
        if value is None:
            text += f";{name}"
        else:
            text += f";{name}={value if _BARE.fullmatch(value) else quote(value)}"
    return text


def unquote(text: str) -> str:
    """Remove the quotes and backslashes of a quoted string; return anything else unchanged."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    inner = text[1:-1]
    return _ESCAPE.sub(r"\1", inner) if "\\" in inner else inner


def quote(text: str) -> str:
    """Write a quoted string (RFC 3261 section 25.1)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quotes_closed(text: str) -> bool:
    """Return whether every quoted string in a header value is closed."""
    if '"' not in text:
        return True
    return all(found[1] == '"' for found in _QUOTED.finditer(text))


def has_empty_element(text: str) -> bool:
    """Return whether two separators (; or ,) follow each other outside quoted strings and <>."""
    bare = _SHELL.sub("x", text) if '"' in text or "<" in text else text
    return _EMPTY.search(bare) is not None or bare.rstrip(BLANKS).endswith(",")
