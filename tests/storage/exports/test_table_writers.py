"""Text stays text in every format, whatever it begins with; read back by readers that are not ours."""

import csv
import io
import json
import os
import re
import string
import tempfile
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

import openpyxl  # type: ignore[import-untyped]  # it has no stubs here
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.exports import table_writers
from storage.exports.table_writers import CUT, MAX_CELL, CsvTable, JsonTable, XlsxTable, cell, field, text

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


def xlsx(rows, names=None):
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


@settings(max_examples=40)
@given(st.lists(st.text(), min_size=1, max_size=30))
def test_any_text_comes_back_from_xlsx(values: list[str]) -> None:
    names = [*string.ascii_uppercase, "AA", "AB", "AC", "AD"]
    found = cells(xlsx([values]))
    assert [found.get(f"{name}2", "") for name in names[: len(values)]] == [text(value) for value in values]


def test_columns_are_named_like_a_spreadsheet_does() -> None:
    heads = list(cells(xlsx([["x"] * 703])))[:703]
    assert [heads[n] for n in (0, 25, 26, 51, 52, 701, 702)] == ["A1", "Z1", "AA1", "AZ1", "BA1", "ZZ1", "AAA1"]


def test_other_spreadsheet_readers_see_the_same_cell_text(tmp_path: Path) -> None:
    (tmp_path / "calls.xlsx").write_bytes(xlsx([[value, value[::-1][:100]] for value in HOSTILE]))
    (sheet,) = openpyxl.load_workbook(tmp_path / "calls.xlsx").worksheets
    assert (sheet.max_row, sheet.max_column) == (len(HOSTILE) + 1, 2)
    for number, value in enumerate(HOSTILE, 2):
        found = [sheet.cell(number, column) for column in (1, 2)]
        # it reads the characters that XML cannot carry as _xHHHH_ (ECMA-376 22.9.2.19), and line ends as XML does
        shown = [re.sub("_x([0-9a-fA-F]{4})_", lambda m: chr(int(m[1], 16)), each.value or "") for each in found]
        assert shown == [value, value[::-1][:100]]
        assert all(each.data_type in ("s", "inlineStr") and each.hyperlink is None for each in found)


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


def csv_of(rows: list[list[object]]) -> str:
    out = bytearray()
    table = CsvTable(out.extend, ["a"] * len(rows[0]))
    table.add(rows)
    table.close()
    return out.decode("utf-8-sig")


@given(st.lists(AWKWARD, min_size=1, max_size=4))
def test_no_csv_field_is_evaluated_as_a_formula(values: list[object]) -> None:
    """A field is what stands between two separators or line ends, quoted or not: both kinds of readers exist."""
    shown = csv_of([values])
    for separator in SEPARATORS:
        for each in fields(shown, separator):
            assert not each.startswith(SIGNS), (separator, each)
    for each in re.split("[;\t\r\n]", shown):
        assert not each.lstrip('"').startswith(SIGNS), each


def test_csv_as_another_reader_reads_it() -> None:
    shown = csv_of([[value, None] for value in HOSTILE])
    names, *rows = csv.reader(io.StringIO(shown, newline=""), strict=True)
    assert names == ["a", "a"]
    assert [read_back(row[0]) for row in rows] == [v.replace("\0", "\ufffd") for v in HOSTILE]


@pytest.mark.parametrize("values", [[], [["=1", None], [[1, {"x": "ö"}], True], ["\ud800", 1.5]]])
def test_json_has_values_as_they_are(values: list[list[object]]) -> None:
    out = bytearray()
    table = JsonTable(out.extend, ["a", "b"], {"customer": "acme", "columns": ["a", "b"]})
    table.add(values[:2])
    table.add(values[2:])
    table.close()
    document = json.loads(out)
    assert document["customer"] == "acme" and document["version"] == 1
    found = [list(each.values()) for each in document["calls"]]
    assert found == [["\ufffd" if value == "\ud800" else value for value in row] for row in values]


def test_a_sheet_without_rows_has_its_head() -> None:
    assert cells(xlsx([], ["a"])) == {"A1": "a"}


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
