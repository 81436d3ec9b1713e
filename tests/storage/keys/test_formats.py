"""What docs/formats says is true: its vectors, and its stand-alone reader, which shares no code with us."""

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.audit import hash_chain
from storage.audit.hash_chain import Act, Checkpoint
from storage.erasure import receipts
from storage.journal import journal
from storage.journal.journal import Item
from storage.keys.cut_log import Entry, Ledger
from storage.keys.key_files import ForgetSecret, pack_forget, seal_tree
from storage.keys.key_store import CustomerKeys
from storage.keys.key_tree import KeyTree, label, leaf_of
from storage.keys.sealing import NO_CALL_DAY
from storage.timestamps import from_text
from storage.vault.container import CONTROL_SEGMENT, Sealer, new_part
from storage.vault.parts import PartRef, associated_data
from tests.in_process.key_files import ROOT, Data, write_part

FORMATS = Path(__file__).parents[3] / "docs" / "formats"
CALL = "01234567-89ab-4cde-8f01-23456789abcd"
LEAF = leaf_of(20_000, 7)


def vectors(page: str) -> dict[str, str]:
    text = (FORMATS / page).read_text().split("## Test vectors")[1]
    return {row[0]: row[1].strip("`") for row in re.findall(r"^\| (.+?) \| (`?[0-9a-f]+`?) \|$", text, re.M)}


def count(first: int, size: int) -> bytes:
    return bytes(range(first, first + size))


def vector_part(size: int) -> bytes:
    pieces = iter((count(0x40, 32), count(0x60, 7)))
    aad = associated_data("acme", CALL, LEAF, "c1")
    header, secret = new_part(count(0, 32), aad, CONTROL_SEGMENT, lambda length: next(pieces))
    return header + Sealer(secret).finish(bytes(k % 251 for k in range(size)))


def test_the_vectors_of_the_container_are_ours() -> None:
    given = vectors("container.md")
    assert len(given) == 6
    pieces = iter((count(0x40, 32), count(0x60, 7)))
    _, secret = new_part(count(0, 32), associated_data("acme", CALL, LEAF, "c1"), 1024, lambda length: next(pieces))
    assert secret.key.hex() == given["derived key"]
    for size in (0, 5):
        assert vector_part(size).hex() == given[f"part, n = {size}"]
    for size in (968, 969, 2500):
        assert hashlib.sha256(vector_part(size)).hexdigest() == given[f"SHA-256 of the part, n = {size}"]


def test_the_vectors_of_the_key_tree_are_ours() -> None:
    given = vectors("keytree.md")
    assert len(given) == 8
    tree = KeyTree.new(count(0, 32))
    assert tree.derive(LEAF).hex() == given["leaf secret 4e2000000007"]
    assert tree.derive(LEAF + 1).hex() == given["leaf secret 4e2000000008"]
    assert label(tree.derive(LEAF), "media").hex() == given["label media of 4e2000000007"]
    forget = ForgetSecret(2, count(0x80, 32))
    packed = pack_forget(count(0x20, 32), "acme", forget)
    assert packed.hex() == given["forget file, generation 2, secret `808182…9f`"]
    sealed = seal_tree(count(0x20, 32), "acme", forget, tree, count(0, 12))
    assert sealed.hex() == given["uncut tree sealed under it, nonce `000102…0b`"]
    tree.cut_range(0, leaf_of(20_000, 0) - 1)
    tree.cut_range(leaf_of(20_001, 0), (1 << 48) - 1)
    ((_, _, day),) = tree.items()
    assert day.hex() == given["node of day 20000"]
    tree = KeyTree.new(count(0, 32))
    tree.cut(LEAF)
    assert str(len(bytes(tree))) == given["state after cutting 4e2000000007: bytes"]
    assert hashlib.sha256(bytes(tree)).hexdigest() == given["its SHA-256"]


def read(path: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the reader on a part as a program."""
    command = [sys.executable, "-I", str(FORMATS / "reader.py"), str(path), "--customer", "acme", *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def by_key(keys: CustomerKeys, ref: PartRef, name: str = "media") -> subprocess.CompletedProcess[bytes]:
    return read(ref.path, "--key", keys.secret(LEAF, name).hex())


def by_root(data: Data, ref: PartRef) -> subprocess.CompletedProcess[bytes]:
    return read(ref.path, "--root", str(data.folder / "root"), "--keys", str(data.keys_dir))


@pytest.fixture
def keys(data: Data) -> CustomerKeys:
    """Keys of a customer, whose root secret lies beside them."""
    made = data.create()
    (data.folder / "root").write_bytes(ROOT.secret)
    return made


@pytest.mark.parametrize("part", ["c1", "m1", "a1"])
def test_the_reader_opens_a_part_by_its_key_or_from_the_keys(data: Data, keys: CustomerKeys, part: str) -> None:
    plain = os.urandom(10_000)
    ref = write_part(data, keys, LEAF, part, plain)
    keys.cut(LEAF + 1)
    for done in (by_key(keys, ref, "attachment" if part == "a1" else "media"), by_root(data, ref)):
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == plain


def test_the_reader_stops_at_damage_and_says_where(data: Data, keys: CustomerKeys) -> None:
    plain = os.urandom(20_000)
    ref = write_part(data, keys, LEAF, "m1", plain)
    raw = bytearray(ref.path.read_bytes())
    raw[9000] ^= 1
    ref.path.write_bytes(raw)
    done = by_key(keys, ref)
    assert done.returncode == 1
    assert b"8192" in done.stderr
    assert done.stdout == plain[: 4096 * 2 - 40 - 32]
    ref.path.write_bytes(raw[: 2 * 4096])
    assert by_key(keys, ref).returncode == 1
    ref.path.write_bytes(raw[:20])
    assert by_key(keys, ref).returncode == 1


def test_the_reference_reader_decrypts_nothing_erased(data: Data, keys: CustomerKeys) -> None:
    ref = write_part(data, keys, LEAF, "m1", b"audio")
    (data.folder / "root").write_bytes(bytes(32))
    done = by_root(data, ref)
    assert (done.returncode, done.stdout) == (2, b"")
    (data.folder / "root").write_bytes(ROOT.secret)
    keys.cut(LEAF)
    done = by_root(data, ref)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"erased" in done.stderr
    assert read(ref.path).returncode == 2


def blocks(page: str) -> list[str]:
    return re.findall(r"```json\n(.*?)```", (FORMATS / page).read_text(), re.S)


def block(page: str) -> str:
    return blocks(page)[0]


def test_the_documented_receipt_is_genuine():
    key = Ed25519PrivateKey.from_private_bytes(count(0, 32)).public_key()
    receipt = receipts.verify(block("receipt.md").encode(), "acme", key)
    signed = json.dumps({k: v for k, v in receipt.items() if k != "signature"}, sort_keys=True, separators=(",", ":"))
    statement = b"siprec-recorder/1 erasure receipt\0" + signed.encode()
    key.verify(bytes.fromhex(receipt["signature"]), statement)
    found = vectors("receipt.md")
    assert found["SHA-256 of the statement"] == hashlib.sha256(statement).hexdigest()
    assert found["public key"] == receipt["public_key"] == key.public_bytes_raw().hex()


def test_the_documented_ledger_line_is_genuine(tmp_path):
    (tmp_path / "again").mkdir()
    (tmp_path / "acme.erasures").write_text(block("ledger.md"))
    entry = Ledger(tmp_path, "acme").last()
    assert entry is not None
    assert entry.leaves == tuple(leaf_of(20_485, number) for number in (7, 8, 0x400))
    assert (entry.days, entry.erasures[0].leaves) == ((20_300,), (leaf_of(20_485, 7),))
    assert (entry.erasures[0].approved_by, len(entry.erasures[0].calls)) == ("second-desk", 1)
    Ledger(tmp_path / "again", "acme").append(entry)
    assert (tmp_path / "again" / "acme.erasures").read_text() == block("ledger.md")


def test_the_documented_line_of_a_deleted_user_is_genuine(tmp_path):
    at = from_text("2026-02-02T09:30:00.000000Z")
    Ledger(tmp_path, "acme").append(Entry((), at, (leaf_of(NO_CALL_DAY, 3),)))
    assert (tmp_path / "acme.erasures").read_text() == blocks("ledger.md")[1]


class VectorKeys:
    """The keys of the vectors: a fresh tree, and the nonce of the pages."""

    tree = KeyTree.new(count(0, 32))

    def seal(self, leaf: int, name: str, plaintext: bytes, context: bytes) -> bytes:
        return count(0, 12) + AESGCM(label(self.tree.derive(leaf), name)).encrypt(count(0, 12), plaintext, context)

    def unseal(self, leaf: int, name: str, sealed: bytes, context: bytes) -> bytes:
        return AESGCM(label(self.tree.derive(leaf), name)).decrypt(sealed[:12], sealed[12:], context)

    def keeps(self, leaf: int) -> bool:
        return True


def test_the_documented_journal_line_is_genuine(tmp_path):
    wanted = Item(LEAF, "holds", None, {"call": CALL})
    now, before = blocks("journal.md")
    (tmp_path / "acme").mkdir()
    keys: Any = VectorKeys()
    ours = journal.Journal(tmp_path / "acme", keys, lambda size: count(0, size))
    asyncio.run(ours.write([wanted]))
    assert (tmp_path / "acme/papers.journal").read_text() == now
    assert list(ours.items(now.encode())) == list(ours.items(before.encode())) == [wanted]


def test_the_documented_entry_and_checkpoint_are_genuine():
    line, since, mark, of_node = blocks("audit.md")
    key = Ed25519PrivateKey.from_private_bytes(count(0, 32))
    assert hash_chain.verify("acme", [line.encode()], [Checkpoint.parse(mark.encode())], key.public_key()).entries == 1
    told = json.loads(line)
    act = Act(*(told[name] for name in ("actor", "role", "action", "object", "outcome", "reason", "source")))
    made, head = hash_chain.entry(hash_chain.origin("acme"), act, from_text(told["time"]))
    assert made.decode() == line
    named = replace(act, actor_kind="token", actor_id="5f0c2a9b1d3e4f60")
    assert hash_chain.entry(hash_chain.origin("acme"), named, from_text(told["time"]))[0].decode() == since
    assert bytes(Checkpoint.sign(key, "acme", head, from_text(told["time"]))).decode() == mark
    numbered = Checkpoint.parse(of_node.encode())
    assert bytes(Checkpoint.sign(key, "acme", head, from_text(told["time"]), numbered.node)).decode() == of_node
    (accepted,) = re.findall(r"```text\n(.*?)\n```", (FORMATS / "audit.md").read_text(), re.S)
    loss = hash_chain.Loss(2, 3, head.hash, told["time"], 4)
    assert loss.signed(key, "acme") == accepted
    assert hash_chain.Loss.parse(accepted, key.public_key(), "acme") == loss
