"""Writers of tables: xlsx, csv and JSON, row by row, in which text stays text.

Whatever a name holds, no program that opens the file may take it for a formula: xlsx cells are all strings; in a csv
field a sign that some program evaluates gets an apostrophe before it, at the start and wherever a program that splits
at semicolons, tabs or line ends would begin another field (docs/formats/export.md).
"""

from __future__ import annotations

import csv
import functools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import IO, Any, Protocol

MAX_CELL = 32_767  # UTF-16 units of one cell: the limit of Excel
MAX_ROWS = 1_048_576  # of one sheet, its heading included: the limit of Excel
CUT = "…"  # ends a cell that was cut; the JSON export has all of it
VERSION = 1  # of the JSON document
TYPES = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
_SIGNS = "=+@＝＋－＠-"
# Excel splits at `;` where the comma is the decimal sign, and then knows nothing of our quotes: `"a;""=1"` has the cell
# `=1`. An apostrophe that was there gets another one, so that a reader can take ours away.
_EVALUATED = re.compile(rf"""\A(?=[\t\r\n])|(?:\A|(?<=[;\t\r\n]))(?='|"*[{_SIGNS}])""")
_NO_CHARACTERS = re.compile("[\ud800-\udfff\ufffe\uffff]")  # halves of pairs, and what XML cannot carry
_MARKUP = re.compile(r"[&<>\x00-\x08\x0b-\x1f]|_x[0-9a-fA-F]{4}_")  # what cannot stand in a cell as it is
_WIDTH = 22  # of a column, in characters: a time in RFC 3339 fits

Put = Callable[[bytes], object]
Row = Sequence[Any]


class Writer(Protocol):
    """Takes the rows of a table."""

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows of JSON values."""

    def close(self) -> None:
        """Write the end."""


def text(value: Any) -> str:
    """Write a JSON value into a cell; what is there several times stands on lines of its own."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _NO_CHARACTERS.sub("\ufffd", value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value):
        return "\n".join(text(each) for each in value)
    if isinstance(value, list | dict):
        return _NO_CHARACTERS.sub("\ufffd", json.dumps(value, ensure_ascii=False))
    return str(value)


def cell(value: Any) -> str:
    """Write a value so that it fits into a cell."""
    found = text(value)
    if len(found) <= MAX_CELL // 2:
        return found
    units = found.encode("utf-16-le")
    if len(units) <= 2 * MAX_CELL:
        return found
    return units[: 2 * (MAX_CELL - 1)].decode("utf-16-le", "ignore") + CUT


def field(value: Any) -> str:
    """Write a value as a csv field that nobody evaluates, whatever separates fields for whoever opens the file.

    A reader takes one apostrophe away, at the start and after each semicolon, tab, CR and LF.
    """
    return _EVALUATED.sub("'", text(value))


class CsvTable:
    """RFC 4180 in UTF-8; the mark at the beginning tells Excel so."""

    def __init__(self, put: Put, names: Sequence[str]) -> None:
        self._put = put
        self._lines = StringIO(newline="")
        self._csv = csv.writer(self._lines, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        put(b"\xef\xbb\xbf")
        self.add([names])

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows of JSON values."""
        self._csv.writerows([field(value).replace("\0", "\ufffd") for value in row] for row in rows)
        self._put(self._lines.getvalue().encode())
        self._lines.seek(0)
        self._lines.truncate()

    def close(self) -> None:
        """Write the end: there is none."""


class JsonTable:
    """One document, written call by call (docs/formats/export.md)."""

    def __init__(self, put: Put, names: Sequence[str], about: Any) -> None:
        self._put = put
        self._names = names
        self._first = True
        head = json.dumps({"format": "siprec-recorder/export", "version": VERSION, **about}, ensure_ascii=False)
        put(_utf8(f'{head[:-1]}, "calls": ['))

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows of JSON values."""
        for row in rows:
            shown = json.dumps(dict(zip(self._names, row, strict=True)), ensure_ascii=False)
            self._put(_utf8(f"{'' if self._first else ','}\n{shown}"))
            self._first = False

    def close(self) -> None:
        """Write the end."""
        self._put(b"\n]}\n")


class XlsxTable:
    """Sheets of strings; a full sheet is followed by another one."""

    def __init__(self, out: IO[bytes], names: Sequence[str], room: Path) -> None:
        """Write to a file that can be rewound; `room` is a folder on tmpfs, for rows lie there in the clear."""
        from xlsxwriter.workbook import Workbook  # 0.1 s, and most daemons never need it

        options = {"constant_memory": True, "tmpdir": str(room), "strings_to_formulas": False, "strings_to_urls": False}
        self._book = Workbook(out, options)
        self._bold = self._book.add_format({"bold": True})
        self._names = names
        self._sheets = 0
        self._new_sheet()

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows of JSON values."""
        for row in rows:
            if self._at == MAX_ROWS:
                self._new_sheet()
            self._sheet.write_texts(self._at, [cell(value) for value in row])
            self._at += 1

    def close(self) -> None:
        """Put the file together."""
        self._book.close()

    def _new_sheet(self) -> None:
        self._sheets += 1
        self._sheet = self._book.add_worksheet(f"calls {self._sheets}", _plain_sheet())
        self._sheet.set_column(0, len(self._names) - 1, _WIDTH)
        self._sheet.freeze_panes(1, 0)
        for column, name in enumerate(self._names):
            self._sheet.write_string(0, column, name, self._bold)
        self._at = 1


def _plain_sheet() -> Any:
    """Return a class of sheets whose rows are strings and nothing else, written in a third of the time.

    `write_string` of xlsxwriter takes a text from <r> to </r> for markup of its own and writes it as it stands, so that
    a caller's name could put a formula into the file. So rows go past it, as the inline strings that it would write.
    """
    from xlsxwriter.worksheet import Worksheet

    class PlainSheet(Worksheet):  # type: ignore[misc]  # the library has no types
        def write_texts(self, row: int, texts: Sequence[str]) -> None:
            self._check_dimensions(row, len(texts) - 1)
            self._write_single_row(row)  # what write_string holds back
            number = row + 1
            cells = [
                f'<c r="{_letters(column)}{number}" t="inlineStr">'
                f'<is><t xml:space="preserve">{self._markup(text)}</t></is></c>'
                for column, text in enumerate(texts)
                if text
            ]
            self.fh.write(f'<row r="{number}">{"".join(cells)}</row>')

        def _markup(self, text: str) -> str:
            if not _MARKUP.search(text):
                return text
            return str(self._escape_data(self._escape_control_characters(text)))

    return PlainSheet


@functools.cache
def _letters(column: int) -> str:
    """Name a column as spreadsheets do: A, B … Z, AA."""
    first, last = divmod(column, 26)
    return (_letters(first - 1) if first else "") + chr(ord("A") + last)


def _utf8(shown: str) -> bytes:
    return _NO_CHARACTERS.sub("\ufffd", shown).encode()
