"""Keys move under another root secret, go into a backup and come back; never older ones without being asked for."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import Negative, NotPossible, WrongUse
from recorder.maintenance.key_backup import decrypt, encrypt, pack, unpack
from recorder.maintenance.key_rotation import gather, restore, rotate
from storage import extras
from storage.audit.audit_files import AuditFiles
from storage.customer.customers import audit_key, customer_folder
from storage.errors import KeysOutdated, KeysWrong
from storage.journal.journal import Item, Journal
from storage.keys.key_tree import leaf_of
from storage.keys.root_secret import RootSecret
from storage.keys.sealing import NO_CALL_DAY, new_leaf
from storage.vault.vault import Vault
from tests.in_process.command_line import Place
from tests.in_process.key_files import cut_days

DAY = 20_000
NOW = datetime(2026, 3, 4, tzinfo=UTC)
LEAF = leaf_of(DAY, 7)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, ("acme", "beta"))
    (tmp_path / "new.key").write_bytes(bytes(range(100, 132)))
    (tmp_path / "new.key").chmod(0o600)
    return made


@pytest.fixture
def data(place: Place) -> bytes:
    """Return a backup of the keys as they are before the story begins."""
    return archive(place)


def archive(place: Place, root: str = "root.key") -> bytes:
    secret = place.root(root)
    return pack(secret.secret, gather(place.settings(), secret), 0)


def chain_holds(place: Place, customer: str, root: str) -> bool:
    files = AuditFiles(customer_folder(place.data, customer), place.keys, customer)
    return files.verify(audit_key(place.open(customer, root)).public_key()).good


def vault_of(place: Place) -> Vault:
    return Vault(customer_folder(place.data, "acme") / "vault", "acme", place.open())


def test_rotated_keys_open_under_the_new_root_secret_only(place: Place) -> None:
    secrets = {name: place.open(name).secret(LEAF, "media") for name in place.customers}
    assert rotate(place.settings(), place.root(), place.root("new.key")) == ["acme", "beta"]
    for name, secret in secrets.items():
        assert place.open(name, "new.key").secret(LEAF, "media") == secret
        with pytest.raises(KeysWrong, match="root secret"):
            place.open(name)
        assert [act["action"] for act in place.acts(name)] == ["keys.rotate"]
        assert chain_holds(place, name, "new.key")


def test_a_rotation_that_stopped_half_way_is_completed(place: Place) -> None:
    place.open("acme").rotate(place.root("new.key"))
    for moved in (["beta"], []):
        assert rotate(place.settings(), place.root(), place.root("new.key")) == moved


def test_a_third_root_secret_moves_nothing(place: Place) -> None:
    with pytest.raises(WrongUse, match="same"):
        rotate(place.settings(), place.root(), place.root())
    with pytest.raises(KeysWrong):
        rotate(place.settings(), RootSecret(bytes(32)), place.root("new.key"))
    assert place.open("acme").keeps(LEAF)
    assert not place.acts("acme")


def test_lost_keys_come_back_with_the_root_secret_and_the_log(place: Place) -> None:
    secret = place.open().secret(LEAF, "media")
    place.open().cut(5)
    rotate(place.settings(), place.root(), place.root("new.key"))  # so that there is a log
    place.configure("new.key")
    data = archive(place, "new.key")
    shutil.rmtree(place.keys)
    (place.folder / "new.key").unlink()
    assert restore(place.settings_unchecked(), data, older=False) == (["acme", "beta"], [])
    back = place.open(root="new.key")
    assert back.secret(LEAF, "media") == secret
    assert not back.keeps(5)
    assert [act["action"] for act in place.acts()] == ["keys.rotate", "keys.restore"]
    assert chain_holds(place, "acme", "new.key")
    assert {path.stat().st_mode & 0o777 for path in place.keys.iterdir()} == {0o600}
    assert not list(place.data.glob(".restore-*"))


def test_a_foreign_backup_leaves_no_root_secret(place: Place, data: bytes) -> None:
    foreign = pack(bytes(range(50, 82)), unpack(data)[1], 0)
    (place.folder / "root.key").unlink()
    with pytest.raises(KeysWrong):
        restore(place.settings_unchecked(), foreign, older=False)
    assert not (place.folder / "root.key").exists()
    assert restore(place.settings_unchecked(), data, older=False) == ([], ["acme", "beta"])
    assert place.open().keeps(LEAF)


def test_keys_that_open_are_left_alone(place: Place, data: bytes) -> None:
    place.open("acme").cut(5)
    for path in place.keys.glob("beta.*"):
        path.unlink()
    assert restore(place.settings(), data, older=False) == (["beta"], ["acme"])
    assert not place.open("acme").keeps(5)


def test_a_backup_older_than_the_data_is_used_only_on_request(place: Place, data: bytes) -> None:
    place.open("acme").cut(5)
    shutil.rmtree(place.keys)
    with pytest.raises(KeysOutdated):
        restore(place.settings(), data, older=False)
    assert not list(place.keys.glob("acme.*"))
    assert restore(place.settings(), data, older=True)[0] == ["acme", "beta"]
    assert not place.open("acme").settle()
    assert place.acts()[-1]["reason"] == "older than the data"


def test_a_restore_repeats_erasures_on_older_keys(place: Place, data: bytes) -> None:
    keys, other = place.open(), leaf_of(DAY - 9, 3)
    keys.cut(LEAF)
    cut_days(keys, DAY - 9)
    for path in place.keys.glob("acme.[ft]*"):  # the ledger is still there
        path.unlink()
    restore(place.settings(), data, older=True)
    back = place.open()
    assert not back.keeps(LEAF) and not back.keeps(other) and back.keeps(LEAF + 1)


def test_a_killed_restore_has_changed_no_key(place: Place, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    used = place.open().allocate(DAY)
    vault_of(place).create("01234567-89ab-4cde-8f01-23456789abcd", used, "c1")
    shutil.rmtree(place.keys)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("Accounts", "Ledger", "Disk"):  # numbers are skipped, erased keys are cut again, files are placed
        with monkeypatch.context() as patch:
            patch.setattr("recorder.maintenance.key_rotation.shutil.rmtree", lambda *_, **__: None)
            patch.setattr(f"recorder.maintenance.key_rotation.{step}", killed)
            with pytest.raises(KeyboardInterrupt):
                restore(place.settings(), data, older=False)
        assert not list(place.keys.glob("acme.*"))
        assert all(path.is_relative_to(place.keys) for path in place.data.rglob("acme.forget*"))
    assert restore(place.settings(), data, older=False)[0] == ["acme", "beta"]
    assert all(path.is_file() for path in place.keys.iterdir())
    assert place.open().allocate(DAY) > used


def test_numbers_that_were_given_since_the_backup_are_skipped(place: Place, data: bytes) -> None:
    keys, vault = place.open(), vault_of(place)
    used = [keys.allocate(DAY) for _ in range(3)]
    for number, leaf in enumerate(used):
        vault.create(f"0123456{number}-89ab-4cde-8f01-23456789abcd", leaf, "c1")
    index = place.open().allocate(DAY)  # by another process, so in another block: the key of the day's search tokens
    paper = new_leaf(keys)
    journal = Journal(customer_folder(place.data, "acme"), keys)
    asyncio.run(journal.write([Item(paper, "users", None, {"id": "one"})]))
    shutil.rmtree(place.keys)
    restore(place.settings(), data, older=False)
    assert place.open().allocate(DAY) > max(index, *used)
    assert place.open().allocate(NO_CALL_DAY) != paper


@pytest.mark.parametrize("killed_before", [False, True])
def test_trial_keys_of_a_restore_are_overwritten_in_place(
    place: Place, data: bytes, monkeypatch: pytest.MonkeyPatch, killed_before: bool
) -> None:
    shutil.rmtree(place.keys)
    if killed_before:
        stage = place.keys / ".restore-old" / "keys"
        stage.mkdir(parents=True)
        (stage / "acme.forget").write_bytes(b"secret" * 20)
    seen: dict[str, bytes] = {}

    def looking(folder: Path, *_: object, **__: object) -> None:
        seen.update((str(path), path.read_bytes()) for path in Path(folder).rglob("*") if path.is_file())

    with monkeypatch.context() as patch:
        patch.setattr("recorder.maintenance.key_rotation.shutil.rmtree", looking)
        restore(place.settings(), data, older=False)
    forgets = [name for name in seen if name.endswith("acme.forget")]
    assert len(forgets) == 1 + killed_before
    assert not any(content.strip(b"\0") for content in seen.values())


def test_a_backup_is_restored_under_the_configured_root_secret(place: Place, data: bytes) -> None:
    place.configure("new.key")
    shutil.rmtree(place.keys)
    restore(place.settings(), data, older=False)
    assert place.open(root="new.key").keeps(LEAF)
    with pytest.raises(KeysWrong):
        place.open()


def test_an_impossible_restore_is_explained(place: Place, data: bytes) -> None:
    with pytest.raises(Negative, match="not a backup"):
        restore(place.settings(), data[:100], older=False)
    shutil.rmtree(place.keys)
    with pytest.raises(Negative, match="customer beta"):
        only = {name: content for name, content in unpack(data)[1].items() if name.startswith("acme.")}
        restore(place.settings(), pack(place.root().secret, only, 0), older=False)
    text = place.config.read_text().replace(f"file:{place.folder}/root.key", "credential:lost")
    place.config.write_text(text)
    with pytest.raises(NotPossible, match="configured root secret"):
        restore(place.settings_unchecked(), data, older=False)


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
    one, two, other = (pyrage.x25519.Identity.generate() for _ in range(3))
    sealed = encrypt(b"keys", [str(one.to_public()), str(two.to_public())])
    for identity in (one, two):
        assert decrypt(sealed, f"# made today\n{identity}\n") == b"keys"
    with pytest.raises(Negative, match="does not open"):
        decrypt(sealed, str(other))
    with pytest.raises(Negative):
        decrypt(sealed[:-1], str(one))


def test_an_invalid_recipient_or_identity_is_not_echoed() -> None:
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
    assert extras.how_to_install(extras.AGE) in caught.value.hint


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed (Debian: apt-get install age)")
def test_age_opens_our_backup_and_we_open_its(tmp_path: Path) -> None:
    key, file = tmp_path / "key.txt", tmp_path / "keys.age"
    subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
    public = subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
    file.write_bytes(encrypt(pack(ROOT, FILES, 0), [public]))
    opened = subprocess.run(["age", "-d", "-i", key, file], check=True, capture_output=True).stdout
    assert unpack(opened) == (ROOT, FILES)
    sealed = subprocess.run(["age", "-r", public], input=opened, check=True, capture_output=True).stdout
    assert unpack(decrypt(sealed, key.read_text())) == (ROOT, FILES)
