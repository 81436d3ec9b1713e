"""First files are made together or not at all, and say that there is a call only where somebody waits for them."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import pytest

from recorder.errors import NotPossible
from recorder.persist import part_files
from recorder.persist.control_part import ControlPart
from storage.errors import NoSpace
from storage.keys.key_store import CustomerKeys
from storage.keys.root_secret import RootSecret
from storage.vault.vault import Draft, NewPart, Vault

DAY = 20_000


@pytest.fixture
def keys(tmp_path: Path) -> CustomerKeys:
    return CustomerKeys.create(tmp_path / "keys", tmp_path / "customers" / "acme", "acme", RootSecret(bytes(range(32))))


@pytest.fixture
def vault(tmp_path: Path, keys: CustomerKeys) -> Vault:
    return Vault(tmp_path / "vault", "acme", keys)


@pytest.fixture
def drafts(vault: Vault, keys: CustomerKeys) -> list[Draft]:
    call, leaf = str(uuid.uuid4()), keys.allocate(DAY)
    return [vault.draft(call, leaf, part) for part in ("c1", "m1")]


def control(drafts: list[Draft]) -> ControlPart:
    part = ControlPart("c1", drafts[0].secret)
    part.keep(20, b"{}")
    part.flush()
    return part


def sizes(vault: Vault) -> dict[str, int]:
    return {ref.part: ref.path.stat().st_size for ref in vault.left_open()}


def close(*made: NewPart) -> None:
    for part in made:
        os.close(part.fd)


def test_both_parts_are_there_and_the_first_has_its_records(vault: Vault, drafts: list[Draft]) -> None:
    made = part_files.first_parts(vault, drafts, control(drafts), lambda: True)
    close(*made)
    assert sizes(vault)["c1"] > sizes(vault)["m1"] == len(drafts[1].header)


def test_an_abandoned_call_gets_only_headers(vault: Vault, drafts: list[Draft]) -> None:
    made = part_files.first_parts(vault, drafts, control(drafts), lambda: False)
    assert sizes(vault) == {"c1": len(drafts[0].header), "m1": len(drafts[1].header)}
    part_files.take_back(*made)
    assert sizes(vault) == {}


@pytest.mark.parametrize("fault", ["part", "records"])
def test_a_failed_creation_leaves_no_part_file(
    vault: Vault, drafts: list[Draft], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    make, first = vault.make, control(drafts)

    def full(draft: Draft) -> NewPart:
        if draft is drafts[1]:
            raise NoSpace("no space left")
        return make(draft)

    def takes_nothing(fd: int) -> None:
        raise NotPossible("no space left")

    if fault == "part":
        monkeypatch.setattr(vault, "make", full)
    else:
        monkeypatch.setattr(ControlPart, "begin", lambda _, fd: takes_nothing(fd))
    with pytest.raises((NoSpace, NotPossible)):
        part_files.first_parts(vault, drafts, first, lambda: True)
    assert sizes(vault) == {}


def test_a_failed_removal_is_reported_and_leaks_no_descriptor(
    vault: Vault, drafts: list[Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = part_files.first_parts(vault, drafts, control(drafts), lambda: True)

    def read_only(_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as broken:
        broken.setattr(os, "unlink", read_only)
        with pytest.raises(OSError, match="Read-only"):
            part_files.take_back(*made)
    for part in made:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(part.fd)


def test_numbers_that_are_taken_are_passed_over(vault: Vault, keys: CustomerKeys) -> None:
    call, leaf = str(uuid.uuid4()), keys.allocate(DAY)
    for number in range(2, 2 + part_files.MAX_TAKEN):
        close(vault.create(call, leaf, f"m{number}"))
    number, part = part_files.free_part(vault, call, leaf, "m", 3 + 1)
    close(part)
    assert number == 2 + part_files.MAX_TAKEN
    with pytest.raises(NotPossible, match="too many parts"):
        part_files.free_part(vault, call, leaf, "m", 2)
