"""Compare a vault with the object store behind it by one listing, mend one side from the other, and move all of it.

Every step may be stopped and repeated, while calls are recorded and erased.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from storage.errors import StorageError, StoreAway
from storage.keys.leaf_counter import node_of
from storage.vault.object_vault import ObjectVault, PartObject
from storage.vault.parts import PartRef

AT_ONCE = 4  # requests of a move at the same time


@dataclass(slots=True)
class Comparison:
    """What differs."""

    missing: list[tuple[PartRef, bool]] = field(default_factory=list)
    """Parts that the store was proved to hold and lacks now, and whether a copy is here."""
    unknown: list[tuple[PartObject, int]] = field(default_factory=list)
    """Objects of which nothing is here, neither a part nor its pointer, and their bytes; those of other nodes, too."""


@dataclass(slots=True)
class Moved:
    """What a move did."""

    parts: int = 0
    """Parts that were not where they should be."""
    done: int = 0
    """Those that are now."""
    failed: int = 0
    """Those that neither side has whole, or whose object cannot be deleted."""


def compare(vault: ObjectVault) -> Comparison:
    """Compare names and sizes, not bytes; raise StoreAway. What differs is looked at again, as calls are at work."""
    found = Comparison()
    prefix = f"{vault.customer}/"
    objects = {PartObject.parse(each.name): each.size for each in vault.objects.listing(prefix)}
    for ref in vault.walk():
        pointer = vault.pointer(ref) if ref.finished else None
        if pointer is None:
            continue
        name = vault.object_of(ref, pointer)
        if objects.pop(name, -1) == pointer.size or vault.objects.size(str(name)) == pointer.size:
            continue
        if vault.pointer(ref) == pointer:
            found.missing.append((ref, not ref.path.is_symlink()))
    for each, size in objects.items():
        if each is None or vault.keeps_locked(each.leaf) or vault.find(each.call, each.leaf, each.part) is not None:
            continue
        if vault.several or vault.objects.size(str(each)):  # of several nodes, each has no part of most objects
            found.unknown.append((each, size))
    return found


def into_store(vault: ObjectVault, advance: Callable[[float], None]) -> Moved:
    """Upload what the store lacks, also what it lost, and point to what only it has; raise StoreAway."""
    done = Moved()
    found = compare(vault)
    for ref, here in found.missing:
        if here:
            vault.mistrust(ref)  # it waits for its upload again
        else:
            done.parts += 1
            done.failed += 1
    for each, size in found.unknown:
        if vault.several and node_of(each.leaf) != vault.node:
            continue  # it belongs to another node
        done.parts += 1
        done.done += vault.adopt(each, size)
    _each(vault.waiting(), vault.upload, done, advance)
    return done


def into_folder(vault: ObjectVault, advance: Callable[[float], None]) -> Moved:
    """Fetch what only the store has; once everything is here, empty the store of it; raise StoreAway."""
    done = Moved()
    for each, size in compare(vault).unknown:
        vault.adopt(each, size)
    away = (ref for ref in vault.walk() if ref.path.is_symlink())
    _each(away, vault.recall, done, advance)
    if not done.failed:
        kept = len(vault.leave())
        done.parts += kept
        done.failed += kept
    return done


def _each(
    refs: Iterable[PartRef], work: Callable[[PartRef], object], done: Moved, advance: Callable[[float], None]
) -> None:
    """Do something with each part, a few at once; raise StoreAway, and count other failures."""

    def one(ref: PartRef) -> bool:
        try:
            work(ref)
        except StoreAway:
            raise
        except StorageError:
            return False
        return True

    with ThreadPoolExecutor(AT_ONCE, "move") as threads:
        for well in threads.map(one, list(refs)):
            done.parts += 1
            done.done += well
            done.failed += not well
            advance(1)
