"""Create the files of recordings and remove them; everything here runs in the disk thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from recorder.errors import NotPossible
from recorder.persist.control_part import ControlPart
from storage.errors import PartExists
from storage.vault.vault import Draft, NewPart, Vault

MAX_TAKEN = 16
"""How many used part numbers are skipped: each belongs to a process that was killed right after creating the part."""


def first_parts(
    vault: Vault, drafts: Sequence[Draft], control: ControlPart, wanted: Callable[[], bool]
) -> tuple[NewPart, NewPart]:
    """Create the first two parts of a recording and write the first records, or leave nothing.

    Parts without records belong to no call, even if they are found later. So they stay if nobody waits for them any
    more.
    """
    made = [vault.make(drafts[0])]
    try:
        made.append(vault.make(drafts[1]))
        if wanted():
            control.begin(made[0].fd)
    except BaseException:
        take_back(*made)
        raise
    return made[0], made[1]


def free_part(vault: Vault, call: str, leaf: int, kind: str, number: int) -> tuple[int, NewPart]:
    """Create a part with the first free number from `number` on."""
    for free in range(number, number + MAX_TAKEN):
        try:
            return free, vault.create(call, leaf, f"{kind}{free}")
        except PartExists:
            continue
    raise NotPossible("this recording has too many parts")


def take_back(*parts: NewPart) -> None:
    """Remove parts that were never announced; raises OSError if the disk does not allow it."""
    for part in parts:  # try all of them first: a disk that became read-only removes none
        os.close(part.fd)
    for part in parts:
        os.unlink(part.path)
