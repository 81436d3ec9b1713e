"""Text stays text in every format, whatever it begins with; read back by readers that are not ours."""

import csv
import io
import json
import os
import re
import tempfile
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.exports import table_writers
from admin_api.exports.table_writers import CUT, MAX_CELL, CsvTable, JsonTable, XlsxTable, cell, field, text

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
HOSTILE = [
    "=1+1",
    "+4930123456",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "Kunde;=1+cmd|'/C calc'!A0;x",
    "Kunde;\"=1+cmd|'/C calc'!A0;x",
    "first\r\n@SUM(A1)\t-2;'+1",
    "＝1",
    "'quoted",
    "a\r\nb\tc",
    '"; DROP',
    "<r><t>x</t></r>",
    "<r></is></c><c><f>1+1</f></c></r>",
    "_x0041_",
    "\x00\x01\x1f\x7f",
    "שלום \u202eabc",
    "😀 Łukasz",
    "  blanks  ",
    "&lt;",
    "]]>",
    "x" * MAX_CELL,
]


def xlsx(rows: list[list[object]], names: list[str] | None = None) -> bytes:
    fd = os.memfd_create("test")
    with os.fdopen(fd, "w+b") as out:
        table = XlsxTable(out, names or [f"c{i}" for i in range(len(rows[0]))])
        table.add(rows)
        table.close()
        out.seek(0)
        return out.read()


def cells(file: bytes, sheet: int = 1) -> dict[str, str]:
    """Read a sheet as a spreadsheet program does (ECMA-376: _xHHHH_ stands for a character)."""
    with ZipFile(io.BytesIO(file)) as zip:
        root = ElementTree.fromstring(zip.read(f"xl/worksheets/sheet{sheet}.xml"))  # noqa: S314 - our own file
    assert not list(root.iter(f"{MAIN}f")), "there is a formula"
    found = {}
    for one in root.iter(f"{MAIN}c"):
        assert one.get("t") == "inlineStr"
        shown = "".join(t.text or "" for t in one.iter(f"{MAIN}t"))
        found[one.get("r", "")] = re.sub("_x([0-9a-fA-F]{4})_", lambda m: chr(int(m[1], 16)), shown)
    return found


def test_hostile_text_comes_back_from_xlsx() -> None:
    found = cells(xlsx([[value, "next"] for value in HOSTILE]))
    for row, value in enumerate(HOSTILE, 2):
        assert found[f"A{row}"] == value and found[f"B{row}"] == "next"
    assert found["A1"] == "c0"


def test_other_spreadsheet_readers_see_the_same_cell_text(tmp_path: Path) -> None:
    rows = [[value, f"{number}", value[::-1][:100]] for number, value in enumerate(HOSTILE)]
    (tmp_path / "calls.xlsx").write_bytes(xlsx(rows))
    book = openpyxl.load_workbook(tmp_path / "calls.xlsx")
    (sheet,) = book.worksheets
    assert (sheet.max_row, sheet.max_column) == (len(HOSTILE) + 1, 3)
    for number, row in enumerate(rows, 2):
        for column, value in enumerate(row, 1):
            found = sheet.cell(number, column)
            # it reads the characters that XML cannot carry as _xHHHH_ (ECMA-376 22.9.2.19), and line ends as XML does
            shown = re.sub("_x([0-9a-fA-F]{4})_", lambda m: chr(int(m[1], 16)), found.value or "")
            assert shown == value, (number, column)
            assert found.data_type in ("s", "inlineStr") and found.hyperlink is None
    book.close()


@given(st.lists(st.text(), min_size=1, max_size=30))
def test_any_text_comes_back_from_xlsx(values: list[str]) -> None:
    found = cells(xlsx([values]))
    for column, value in enumerate(values):
        read = found.get(f"{table_writers._letters(column)}2", "")
        assert read == text(value)


def opened() -> set[str]:
    """The descriptors of this process, but for the one that lists them."""
    return {fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")}


def test_rows_wait_in_no_file_that_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with os.fdopen(os.memfd_create("test"), "w+b") as out:
        before = opened()
        table = XlsxTable(out, ["who"])
        table.add([["Mira Okafor"]] * 20_000)
        fresh = [os.readlink(f"/proc/self/fd/{fd}") for fd in opened() - before]
        assert fresh and all(name.startswith("/memfd:") for name in fresh)
        table.close()
        assert opened() <= before
        out.seek(0)
        found = cells(out.read())
    assert len(found) == 20_001 and set(list(found.values())[1:]) == {"Mira Okafor"}


def test_a_full_sheet_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_writers, "MAX_ROWS", 3)
    file = xlsx([[str(i)] for i in range(5)])
    assert [cells(file, n)["A2"] for n in (1, 2, 3)] == ["0", "2", "4"]
    assert cells(file, 3)["A1"] == "c0" and len(cells(file, 2)) == 3


def test_columns_are_named_like_a_spreadsheet_does() -> None:
    assert [table_writers._letters(n) for n in (0, 25, 26, 51, 52, 701, 702)] == [
        "A",
        "Z",
        "AA",
        "AZ",
        "BA",
        "ZZ",
        "AAA",
    ]


@pytest.mark.parametrize("value", ["x" * (MAX_CELL + 1), "😀" * (MAX_CELL // 2 + 1), "a" + "😀" * MAX_CELL])
def test_a_cell_is_cut_where_excel_would_refuse_the_file(value: str) -> None:
    found = cell(value)
    assert len(found.encode("utf-16-le")) <= 2 * MAX_CELL
    assert found.endswith(CUT) and value.startswith(found[:-1])
    assert cell("😀" * (MAX_CELL // 2)) == "😀" * (MAX_CELL // 2)


SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
SEPARATORS = (",", ";", "\t")
AWKWARD = st.text(st.sampled_from([*SIGNS, *SEPARATORS, "\r", "\n", "'", '"', " ", "a"]), max_size=12)


def read_back(found: str) -> str:
    """Take the apostrophes away as docs/formats/export.md says."""
    return re.sub(r"(^|[;\t\r\n])'", r"\1", found)


def fields(line: str, separator: str) -> list[str]:
    """Read as spreadsheet programs do: a quoted part ends at its quote, and what follows it belongs to the field."""
    return [each for row in csv.reader(io.StringIO(line, newline=""), delimiter=separator) for each in row]


@given(AWKWARD | st.text())
def test_each_csv_field_can_be_read_back(value: str) -> None:
    found = field(value)
    assert not found.startswith(("\t", "\r", "\n"))
    assert read_back(found) == text(value)


@given(st.lists(AWKWARD, min_size=1, max_size=4))
def test_no_csv_field_is_evaluated_as_a_formula(values: list[str]) -> None:
    """A field is what stands between two separators or line ends, quoted or not: both kinds of readers exist."""
    out = bytearray()
    table = CsvTable(out.extend, ["a"] * len(values))
    table.add([values])
    table.close()
    shown = out.decode("utf-8-sig")
    for separator in SEPARATORS:
        for each in fields(shown, separator):
            assert not each.startswith(SIGNS), (separator, each)
    for each in re.split("[;\t\r\n]", shown):
        assert not each.lstrip('"').startswith(SIGNS), each


def test_csv_as_another_reader_reads_it() -> None:
    out = bytearray()
    table = CsvTable(out.extend, ["a", "b"])
    table.add([[value, None] for value in HOSTILE])
    table.close()
    rows = list(csv.reader(io.StringIO(out.decode("utf-8-sig"), newline=""), strict=True))
    assert rows[0] == ["a", "b"]
    assert [read_back(row[0]) for row in rows[1:]] == [v.replace("\0", "\ufffd") for v in HOSTILE]


def test_json_has_values_as_they_are() -> None:
    out = bytearray()
    table = JsonTable(out.extend, ["a", "b"], {"customer": "acme", "columns": ["a", "b"]})
    values = [["=1", None], [[1, {"x": "ö"}], True], ["\ud800", 1.5]]
    table.add(values[:2])
    table.add(values[2:])
    table.close()
    document = json.loads(out)
    assert document["customer"] == "acme" and document["version"] == 1
    assert [list(each.values()) for each in document["calls"]] == [*values[:2], ["\ufffd", 1.5]]


def test_no_rows_is_a_file_too() -> None:
    out = bytearray()
    JsonTable(out.extend, ["a"], {}).close()
    assert json.loads(out)["calls"] == []
    with os.fdopen(os.memfd_create("test"), "w+b") as file:
        XlsxTable(file, ["a"]).close()
        file.seek(0)
        assert cells(file.read()) == {"A1": "a"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (4.4, "4.4"),
        (["a", None, "b"], "a\n\nb"),
        ([{"a": 1}], '[{"a": 1}]'),
        ({"ö": "x"}, '{"ö": "x"}'),
        ("\ud83d", "\ufffd"),
        ("\uffff", "\ufffd"),
    ],
)
def test_values_in_cells(value: object, shown: str) -> None:
    assert text(value) == shown
