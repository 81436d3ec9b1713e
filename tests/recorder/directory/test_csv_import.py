"""A directory in a CSV file is read as it comes out of other programs, or the line that is wrong is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.directory import csv_import
from recorder.directory.csv_import import read
from recorder.errors import WrongUse
from storage.directory.user import Person

FULL = """first_name,last_name,account_name,email,upn,object_id,numbers,addresses
Mira,"Okafor, Dr.",mira,mira@x.example,m@x.example,oid-1,+49 30 1;030/2,sip:m@x;SMTP:m.o@x
"""


def test_every_column() -> None:
    assert read(FULL.encode()) == [
        Person(
            "Mira",
            "Okafor, Dr.",
            "mira",
            "mira@x.example",
            "m@x.example",
            "oid-1",
            ("+49 30 1", "030/2"),
            ("sip:m@x", "m.o@x"),
        )
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_headings_and_signs_of_other_programs(encoding: str, end: str) -> None:
    text = (
        "UserPrincipalName;Given Name;Surname;Business Phones;mobilePhone;Department\nm@x;Mira;Ößling;+491;+492;HR\n\n"
    )
    found = read(text.replace("\n", end).encode(encoding))
    assert found == [Person("Mira", "Ößling", upn="m@x", numbers=("+491", "+492"))]


@pytest.mark.parametrize(
    "data",
    [
        "upn\tfirst_name\nm@x\tMüra\n".encode("utf-16"),
        b"sep=;\r\nupn;first_name\r\nm@x;M\xc3\xbcra\r\n",
        "upn\tfirst_name\rm@x\tMüra\r".encode(),
        "upn,first_name\nm@x,Müra\nm@x,Müra\n".encode(),
    ],
)
def test_files_as_programs_for_tables_save_them(data: bytes) -> None:
    assert read(data) == [Person("Müra", upn="m@x")]


def test_short_lines_and_repeated_numbers() -> None:
    assert read(b"upn,first_name,phone,mobile\nm@x\nt@x,Tove,1,1\n") == [
        Person(upn="m@x"),
        Person("Tove", upn="t@x", numbers=("1",)),
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "identifies people"),
        (b"first_name,last_name\nMira,O\n", "identifies people"),
        (b"upn,upn\na,b\n", "twice"),
        (b"upn,first_name\nm@x,Mira,more\n", "Line 2 has more fields"),
        (b"upn,first_name\n,Mira\n", "Line 2 names nobody"),
        (b"sep=,\nupn,first_name\n,Mira\n", "Line 3 names nobody"),
        (b"upn,first_name\nm@x,Mira\nt@x,Tove\nM@X,Mira\n", "Lines 2 and 4 say different things about one person"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b'upn,first_name\nm@x,"Mira\n', "not CSV"),
        (b"upn\n\xff\n", "UTF-8"),
        (b"upn\n" + b"x" * 2001 + b"\n", "more than 2000 characters"),
    ],
)
def test_csv_faults_are_reported_without_names(data: bytes, said: str) -> None:
    with pytest.raises(WrongUse) as error:
        read(data)
    assert said in str(error.value) and "Mira" not in error.value.sentence()


def test_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_import, "MAX_BYTES", 10)
    with pytest.raises(WrongUse, match="MiB"):
        read(FULL.encode())


@given(
    st.binary(max_size=300) | st.text(max_size=300).map(lambda text: b"upn,phone\n" + text.encode("utf-8", "replace"))
)
def test_any_bytes_are_people_or_a_sentence(data: bytes) -> None:
    try:
        people = read(data)
    except WrongUse:
        return
    assert all(person.key for person in people)
