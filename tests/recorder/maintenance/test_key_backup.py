"""A backup of the keys: what goes in comes out, for the recipients only, and anything else is refused."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import Negative, NotPossible, WrongUse
from recorder.maintenance.key_backup import decrypt, encrypt, pack, unpack

ROOT = bytes(range(32))
FILES = {"acme.forget": b"one", "acme.tree.0": b"", "beta.audit.broken": b"three"}


@given(st.binary(max_size=2000), st.integers(0, 4000))
def test_anything_else_is_no_archive(data: bytes, cut: int) -> None:
    assert unpack(pack(ROOT, FILES, 0)) == (ROOT, FILES)
    for text in (data, pack(ROOT, FILES, 0)[:cut] + data):
        try:
            root, files = unpack(text)
        except Negative:
            continue
        assert root == ROOT and set(files) <= set(FILES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[(name, tarfile.REGTYPE) for name in ("keys/../x.forget", "/keys/a.forget", "keys/a.lock", "etc/passwd")],
        ("keys/acme.leaves", tarfile.SYMTYPE),
    ],
)
def test_a_name_from_elsewhere_or_a_link_is_refused(name: str, kind: bytes) -> None:
    out = io.BytesIO(pack(ROOT, FILES, 0))
    with tarfile.open(fileobj=out, mode="a") as archive:
        added = tarfile.TarInfo(name)
        added.type, added.linkname = kind, "/etc/shadow"
        archive.addfile(added)
    with pytest.raises(Negative, match="not a backup"):
        unpack(out.getvalue())


def test_only_a_recipient_opens_it() -> None:
    x25519 = pytest.importorskip("pyrage").x25519
    one, two, other = (x25519.Identity.generate() for _ in range(3))
    sealed = encrypt(b"keys", [str(one.to_public()), str(two.to_public())])
    for identity in (one, two):
        assert decrypt(sealed, f"# made today\n{identity}\n") == b"keys"
    with pytest.raises(Negative, match="does not open"):
        decrypt(sealed, str(other))
    with pytest.raises(Negative):
        decrypt(sealed[:-1], str(one))


def test_an_invalid_recipient_or_identity_is_not_echoed() -> None:
    pytest.importorskip("pyrage")
    for wrong in ("age1xyz", "AGE-SECRET-KEY-1QQ", ""):
        with pytest.raises(WrongUse, match="not an age") as caught:
            encrypt(b"keys", [wrong])
        assert not wrong or wrong not in str(caught.value)
        with pytest.raises(WrongUse):
            decrypt(b"keys", wrong)


def test_without_pyrage_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(NotPossible, match="pyrage is not installed") as caught:
        encrypt(b"keys", ["age1"])
    assert "siprec-recorder[age]" in caught.value.hint


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed (Debian: apt-get install age)")
def test_age_opens_our_backup_and_we_open_its(tmp_path: Path) -> None:
    pytest.importorskip("pyrage")
    key, file = tmp_path / "key.txt", tmp_path / "keys.age"
    subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
    public = subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
    file.write_bytes(encrypt(pack(ROOT, FILES, 0), [public]))
    opened = subprocess.run(["age", "-d", "-i", key, file], check=True, capture_output=True).stdout
    assert unpack(opened) == (ROOT, FILES)
    sealed = subprocess.run(["age", "-r", public], input=opened, check=True, capture_output=True).stdout
    assert unpack(decrypt(sealed, key.read_text())) == (ROOT, FILES)
