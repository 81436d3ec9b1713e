"""Whoever reads the raw disk, during and after calls, an export, an erasure and a crash, finds ciphertext.

Names, numbers, sound, SRTP keys and the keys of recordings are searched in every coding: in all bytes of the data and
runtime directories, and as root on a whole block device, free space and journal of its file system included.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from media.records import record_format
from recorder.config.loader import load
from recorder.session.commands import Kept
from recorder.simulate.plan import Plan
from storage.access.accounts import Accounts
from storage.customer import customers
from storage.errors import StorageError
from storage.keys.key_store import CustomerKeys
from storage.keys.root_secret import load_root
from storage.keys.row_keys import LABEL_DETAILS
from storage.vault.vault import Vault
from tests.capabilities import impossible
from tests.daemon.api import WHY, running, until
from tests.daemon.coded_calls import place, record
from tests.daemon.server import Server
from tests.journeys.privacy.canary_requests import plant

IMAGE = 80 << 20
BLOCK = 4096
SLICE = 32  # bytes of sound: chance does not make them
KINDS = 3  # different groups of four bytes in a slice at least: a disk may hold silence by chance


@dataclass
class Disk:
    """What an onlooker of the disk sees."""

    folder: Path
    """Where the data directory is."""
    image: Path | None
    """The block device it lies on, None if only its files are looked at."""
    seen: list[tuple[str, bytes]] = field(default_factory=list)

    def look(self, when: str) -> None:
        """Remember every byte there is now, blocks of zeros left out."""
        if self.image:
            os.sync()
            raw = self.image.read_bytes()
            blocks = (raw[at : at + BLOCK] for at in range(0, len(raw), BLOCK))
            self.seen.append((when, b"".join(block for block in blocks if block.strip(b"\0"))))
            return
        found = []
        walks = chain(os.walk(self.folder), os.walk(self.folder.parent / "run"))  # which bear that a folder goes
        for where, folders, names in walks:
            found += [f"{where}/{name}\n".encode() for name in (*folders, *names)]
            for path in (Path(where, name) for name in names):
                with suppress(FileNotFoundError):  # it moved
                    found.append(path.read_bytes() if path.is_file() else b"")
        self.seen.append((when, b"\n".join(found)))


@pytest.fixture(params=["files", "device"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """The data directory in a folder, or as the only thing on a device."""
    folder = tmp_path / "one" / "data"
    folder.mkdir(parents=True)
    if request.param == "files":
        yield Disk(folder, None)
        return
    if os.geteuid() or not Path("/dev/loop-control").exists():
        pytest.skip("only root can mount a block device, and that of a machine with loop devices")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(IMAGE)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, check=False)
    if mounted.returncode:
        impossible(f"no loop device can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield Disk(folder, image)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def talking(one: Server, then: Callable[[], object]) -> None:
    """Have calls going on while something is done."""

    async def meanwhile() -> None:
        parts = (one.data / "customers/acme/vault/open").glob
        await asyncio.to_thread(until, lambda: list(parts("*.m1")))
        await asyncio.to_thread(then)

    place([Plan(to=one.uri(), calls=2, seconds=4.0)], meanwhile)


def test_the_raw_disk_shows_nothing_at_any_time(disk: Disk) -> None:
    with running(disk.folder.parent) as api:
        one = api.one
        erased, kept = record(api, 2)
        talking(one, lambda: [(disk.look("while calls run"), time.sleep(0.7)) for _ in range(2)])
        planted = plant(api, kept["id"])
        heard = api.sound(kept["id"])
        api.export(calls=[erased["id"], kept["id"]], format="csv")
        disk.look("after an export")
        forget = disk.folder / "keys" / "acme.forget"
        secret, root = forget.read_bytes()[16:48], load_root(load(one.config).keys.root).secret
        assert secret in disk.seen[-1][1], "this way of looking finds what is there"
        plain = decrypted(one, root)
        needles = {
            **texts(erased, kept),
            **planted,
            **keys_of(one, root),
            **slices("played", heard),
            **account(one, root),
        }
        needles.update(slices("sound", payloads(one, root)))
        api.erase(calls=[erased["id"]])
        disk.look("after an erasure")
        assert secret not in disk.seen[-1][1], "the forget secret of before was overwritten where it lay"
        talking(one, lambda: one.stop(signal.SIGKILL))
        disk.look("after a crash")
        one.start()
        disk.look("after recovery")
        assert one.stop() == 0
        disk.look("in the end")
    found = {name for name, needle in needles.items() if any(form in plain for form in forms(needle)[:2])}
    assert {"name 0", "number 0", "sound 0", "offer 0"} <= found, "the needles are what was recorded"
    hits = [(when, name) for when, raw in disk.seen for name, needle in needles.items() if within(needle, raw)]
    assert not hits


def account(one: Server, root: bytes) -> dict[str, str | bytes]:
    """Make an account of the page, change it, and remove another; what the disk must not show of them."""
    keys, _ = vault_of(one, root)
    accounts = Accounts(customers.customer_folder(one.data, "acme"), "acme", keys)
    for name in ("Wimpletharp Quill", "Brindlewoad Fenn"):
        made = accounts.create(name, ["admin"], datetime.now(UTC))
        accounts.change(made.account.id, lambda a: replace(a, password="$argon2id$planted", totp="JBSWY3DPEHPK3PXP"))
    accounts.remove(made.account.id)
    said = ("Wimpletharp", "Brindlewoad", "argon2id$planted", "JBSWY3DPEHPK3PXP", made.secret)
    return {f"account {n}": text for n, text in enumerate(said)}


def texts(*calls: dict[str, Any]) -> dict[str, str | bytes]:
    """What is known of people: names and numbers of these calls, and what was written about them."""
    people = [party for call in calls for party in call["parties"]]
    names = {f"name {n}": str(party["name"]) for n, party in enumerate(people)}
    numbers = {f"number {n}": str(party["number"]).lstrip("+") for n, party in enumerate(people)}
    return {**names, **numbers, "reason": WHY["reason"]}


def slices(name: str, data: bytes) -> dict[str, str | bytes]:
    """Ten pieces of sound that are not silence."""
    pieces = (data[at : at + SLICE] for at in range(len(data) // 3, len(data) - SLICE, 777))
    loud = [piece for piece in pieces if len({piece[at : at + 4] for at in range(0, SLICE, 4)}) >= KINDS]
    return {f"{name} {n}": piece for n, piece in enumerate(loud[:10])}


def payloads(one: Server, root: bytes) -> bytes:
    """The sound of all recordings as it was sent."""
    _, vault = vault_of(one, root)
    found = []
    for ref in vault.walk():
        if ref.part.startswith("m"):
            runs = (
                r
                for r in record_format.read(vault.read(ref, live=True))
                if isinstance(r, record_format.Run | record_format.Mixed)
            )
            found += [payload for run in runs for payload in run.payloads]
    return b"".join(found)


def vault_of(one: Server, root: bytes) -> tuple[CustomerKeys, Vault]:
    """Open the vault beside the daemon."""
    folder = customers.customer_folder(one.data, "acme")
    keys = customers.open_keys(one.data, "acme", load_root(load(one.config).keys.root))
    assert len(root) == 32
    return keys, Vault(folder / customers.VAULT, "acme", keys)


def keys_of(one: Server, root: bytes) -> dict[str, str | bytes]:
    """The keys of everything: root secret, keys of recordings, and the SRTP keys that were agreed on."""
    keys, vault = vault_of(one, root)
    found: dict[str, str | bytes] = {"root secret": root}
    offers: list[bytes] = []
    for ref in vault.walk():
        for label in ("media", LABEL_DETAILS, "index"):
            found[f"{label} of {ref.call}"] = keys.secret(ref.leaf, label)
        if ref.part == "c1":
            for one_record in record_format.read(vault.read(ref, live=True)):
                if isinstance(one_record, record_format.Other) and one_record.kind in (Kept.OFFER, Kept.ANSWER):
                    offers += re.findall(rb"inline:([A-Za-z0-9+/=]+)", one_record.body)
    assert offers
    for number, inline in enumerate(offers):
        text = inline.decode()
        found[f"offer {number}"] = text
        found[f"offer {number} raw"] = base64.b64decode(text + "=" * (-len(text) % 4))
    return found


def decrypted(one: Server, root: bytes) -> bytes:
    """All that the recordings hold."""
    _, vault = vault_of(one, root)
    found = []
    for ref in vault.walk():
        try:
            found += list(vault.read(ref, live=True))
        except StorageError:
            continue
    return b"".join(found)


def forms(needle: str | bytes) -> list[bytes]:
    """Write something in every coding that a disk might show it in."""
    plain = needle.encode() if isinstance(needle, str) else needle
    coded = [base64.b64encode(b"x" * skip + plain)[4 * (skip > 0) :].rstrip(b"=")[:-2] for skip in range(3)]
    wide = [needle.encode("utf-16-le")] if isinstance(needle, str) else []
    return [plain, plain.lower(), plain.hex().encode(), plain[::-1], *coded, *wide]


def within(needle: str | bytes, raw: bytes) -> bool:
    """Return whether it is there in any form."""
    return any(form in raw for form in forms(needle))
