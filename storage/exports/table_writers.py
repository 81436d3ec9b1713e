"""Writers of tables, row by row, as xlsx, csv or JSON; text stays text.

No program that opens the file may take a name for a formula. All xlsx cells are strings. In csv, a character that
starts a formula gets an apostrophe before it, at the start of a field and wherever a program that splits at
semicolons, tabs or line ends would begin another field (docs/formats/export.md).
"""

from __future__ import annotations

import csv
import functools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO, StringIO
from typing import IO, Any, Protocol
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

MAX_CELL = 32_767  # UTF-16 units of one cell: the limit of Excel
MAX_ROWS = 1_048_576  # of one sheet, its heading included: the limit of Excel
CUT = "…"  # ends a truncated cell; the JSON export has the whole value
VERSION = 1  # of the JSON document
TYPES = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
_SIGNS = "=+@＝＋－＠-"
# Excel splits at `;` where the comma is the decimal sign, and then ignores our quotes: `"a;""=1"` gives the cell `=1`.
# An apostrophe already there gets another one, so that a reader can remove ours.
_EVALUATED = re.compile(rf"""\A(?=[\t\r\n])|(?:\A|(?<=[;\t\r\n]))(?='|"*[{_SIGNS}])""")
_NO_CHARACTERS = re.compile("[\ud800-\udfff\ufffe\uffff]")  # lone surrogates, and characters that XML forbids
_MARKUP = re.compile(r"[&<>\x00-\x08\x0b-\x1f]|_x[0-9a-fA-F]{4}_")  # characters that must be escaped in a cell
_DIMENSION = re.compile(rb"<dimension [^>]*/>")  # optional (ECMA-376 part 1, 18.3.1.35), and here without rows
_CHUNK = 1 << 20
_ZIP32 = 1 << 31  # bytes of a member from which ZIP64 is needed; Excel offers to repair a file that has it
_WIDTH = 22  # of a column, in characters: a time in RFC 3339 fits

Put = Callable[[bytes], object]
Row = Sequence[Any]


class Writer(Protocol):
    """Receives the rows of a table."""

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows of JSON values."""

    def close(self) -> None:
        """Finish the table."""


def text(value: Any) -> str:
    """Turn a JSON value into cell text; several values stand on separate lines."""
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
    """Turn a value into text that fits into a cell."""
    found = text(value)
    if len(found) <= MAX_CELL // 2:
        return found
    units = found.encode("utf-16-le")
    if len(units) <= 2 * MAX_CELL:
        return found
    return units[: 2 * (MAX_CELL - 1)].decode("utf-16-le", "ignore") + CUT


def field(value: Any) -> str:
    """Turn a value into a csv field that no program evaluates, whatever separator it uses.

    A reader removes one apostrophe at the start and after each semicolon, tab, CR and LF.
    """
    return _EVALUATED.sub("'", text(value))


class CsvTable:
    """CSV (RFC 4180) in UTF-8; the byte order mark tells Excel the encoding."""

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
        """Do nothing: csv has no end."""


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
    """Sheets of strings; when one is full, another follows.

    xlsxwriter creates the sheets without rows, in memory. With the rows, it would take half a kilobyte a cell, or write
    plaintext to named files. So rows are collected in unnamed files and inserted into the sheets at the end.
    """

    def __init__(self, out: IO[bytes], names: Sequence[str]) -> None:
        """Write to a file that can be rewound."""
        from xlsxwriter.workbook import Workbook  # 0.1 s, and most daemons never need it

        self._out, self._frame = out, BytesIO()
        self._rows: list[IO[bytes]] = []  # of each sheet
        self._book = Workbook(self._frame, {"in_memory": True})
        self._bold = self._book.add_format({"bold": True})
        self._names = names
        self._sheets = 0
        self._new_sheet()

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows of JSON values."""
        for row in rows:
            if self._at == MAX_ROWS:
                self._new_sheet()
            self._rows[-1].write(self._sheet.row_of(self._at, [cell(value) for value in row]).encode())
            self._at += 1

    def close(self) -> None:
        """Assemble the file."""
        self._book.close()
        sheets = {f"xl/worksheets/sheet{number}.xml": file for number, file in enumerate(self._rows, 1)}
        with ZipFile(self._frame) as made, ZipFile(self._out, "w", ZIP_DEFLATED) as zip:
            for entry in made.infolist():
                member = ZipInfo(entry.filename, entry.date_time)
                member.compress_type = ZIP_DEFLATED
                rows = sheets.get(entry.filename)
                with zip.open(member, "w", force_zip64=rows is not None and rows.tell() > _ZIP32) as file:
                    if rows is None:
                        file.write(made.read(entry))
                        continue
                    before, _, after = _DIMENSION.sub(b"", made.read(entry)).partition(b"<sheetData/>")
                    file.write(before + b"<sheetData>")
                    with rows:
                        rows.seek(0)
                        shutil.copyfileobj(rows, file, _CHUNK)
                    file.write(b"</sheetData>" + after)

    def _new_sheet(self) -> None:
        self._sheets += 1
        self._sheet = self._book.add_worksheet(f"calls {self._sheets}", _plain_sheet())
        self._sheet.set_column(0, len(self._names) - 1, _WIDTH)
        self._sheet.freeze_panes(1, 0)
        self._rows.append(os.fdopen(os.memfd_create("rows", os.MFD_CLOEXEC), "w+b"))
        self._rows[-1].write(self._sheet.row_of(0, self._names, self._bold).encode())
        self._at = 1


def _plain_sheet() -> Any:
    """Return a sheet class that writes a row of strings in a third of the time that xlsxwriter takes.

    `write_string` of xlsxwriter takes a text from <r> to </r> for its own markup and writes it unescaped, so a caller's
    name could put a formula into the file. So rows bypass it, as inline strings.
    """
    from xlsxwriter.worksheet import Worksheet

    class PlainSheet(Worksheet):  # type: ignore[misc]  # the library has no types
        def row_of(self, row: int, texts: Sequence[str], form: Any = None) -> str:
            number, style = row + 1, f' s="{form._get_xf_index()}"' if form else ""
            cells = [
                f'<c r="{_letters(column)}{number}"{style} t="inlineStr">'
                f'<is><t xml:space="preserve">{self._markup(text)}</t></is></c>'
                for column, text in enumerate(texts)
                if text
            ]
            return f'<row r="{number}">{"".join(cells)}</row>'

        def _markup(self, text: str) -> str:
            if not _MARKUP.search(text):
                return text
            return str(self._escape_data(self._escape_control_characters(text)))

    return PlainSheet


@functools.cache
def _letters(column: int) -> str:
    """Return the spreadsheet name of a column: A, B … Z, AA."""
    first, last = divmod(column, 26)
    return (_letters(first - 1) if first else "") + chr(ord("A") + last)


def _utf8(shown: str) -> bytes:
    return _NO_CHARACTERS.sub("\ufffd", shown).encode()
