"""The configuration file after an edit says the change and nothing else, and looks as it did everywhere else."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest

from recorder.config import editor, template
from recorder.errors import NotPossible, WrongUse

FILE = """\
# Node in Frankfurt.
[node]
name = "rec1"  # never reused

# The bank. Contract 4711.
[[customer]]
name = "acme"
sources = [
    "192.0.2.0/24",   # old SBC
]
# title = "Acme Ltd"
state = "open"   # until further notice

# Their directory.
[[directory]]
customer = "acme"
tenant = "x"

[[customer]]
name = 'globex'
sources = ["198.51.100.7"]

[[sign_in]]
customer = "globex"
title = "Entra"

[sign_in.roles]
desk = ["listener"]

[[sign_in]]
customer = "acme"
"""


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """Return the lines that are gone and those that are new."""
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_a_customer_is_added_at_the_end() -> None:
    values = {"name": "new", "title": 'A "B" # C', "sources": ["192.0.2.9"], "retention_days": 90}
    after = editor.add(FILE, values)
    assert after.startswith(FILE)
    assert tomllib.loads(after)["customer"][-1] == values
    assert tomllib.loads(editor.add("", values)) == {"customer": [values]}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_value_is_changed_in_place_or_added_below_its_example(end: str) -> None:
    before = FILE.replace("\n", end)
    closed = editor.change(before, "acme", "state", "closed")
    assert changed(before, closed) == (
        ['state = "open"   # until further notice'], ['state = "closed"   # until further notice'],
    )  # fmt: skip
    titled = editor.change(before, "acme", "title", "Acme & Söhne")
    assert changed(before, titled) == ([], ['title = "Acme & Söhne"'])
    assert '# title = "Acme Ltd"' + end + 'title = "Acme & Söhne"' + end in titled
    assert titled.count("\r") == before.count("\r") + (end == "\r\n")
    other = editor.change(before, "globex", "title", "Globex")
    assert f"name = 'globex'{end}title = \"Globex\"{end}" in other
    assert editor.change(other, "globex", "title", "Globex") == other


def test_a_customer_is_removed_with_its_directory_and_sign_in() -> None:
    after = editor.remove(FILE, "globex")
    assert "Contract 4711" in after and "roles" not in after
    assert [each["name"] for each in tomllib.loads(after)["customer"]] == ["acme"]
    assert tomllib.loads(after)["sign_in"] == [{"customer": "acme"}]
    other = tomllib.loads(editor.remove(FILE, "acme"))
    assert "directory" not in other and [each["customer"] for each in other["sign_in"]] == ["globex"]
    assert "# Their directory." in editor.remove(FILE, "acme")  # a comment may belong to what follows


def test_the_example_that_init_writes_can_be_edited() -> None:
    text = template.render()
    more = editor.add(text, {"name": "globex", "sources": ["192.0.2.9"]})
    assert editor.change(more, "acme", "state", "closed").count("\n") == more.count("\n")
    left = editor.remove(more, "acme")
    assert [each["name"] for each in tomllib.loads(left)["customer"]] == ["globex"]
    assert "[[directory]]" in left  # the commented example


ODD = {
    "an array of tables in one line": 'customer = [{ name = "acme" }]\n',
    "a value over several lines": '[[customer]]\nname = "acme"\nstate = """\nopen"""\n',
    "the key within a text": '[[customer]]\nname = "acme"\ntitle = """\nstate = "open"\n"""\nstate = "open"\n',
    "a header within a text": '[[customer]]\nname = "acme"\ntitle = """\n[[customer]]\n"""\nstate = "open"\n',
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_a_file_that_cannot_be_edited_by_lines_is_refused(text: str) -> None:
    with pytest.raises(WrongUse, match="cannot edit"):
        editor.change(text, "acme", "state", "closed")


def test_an_edit_is_atomic_and_keeps_the_owner_and_mode(tmp_path: Path) -> None:
    path, link = tmp_path / "recorder.toml", tmp_path / "link"
    path.write_bytes(b"\xef\xbb\xbf" + FILE.encode())
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    link.symlink_to(path)
    before = path.stat()
    text = editor.read(link)
    editor.write(link, text, text + "# more\n")
    after = path.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (before.st_uid, before.st_gid, 0o640)
    assert after.st_ino != before.st_ino and link.is_symlink()
    assert path.read_bytes() == b"\xef\xbb\xbf" + FILE.encode() + b"# more\n"
    with pytest.raises(NotPossible, match="changed meanwhile"):
        editor.write(path, text, "")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link", "recorder.toml"]
