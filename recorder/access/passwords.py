"""Passwords: which are accepted, and how they are hashed.

Argon2id with the second recommended option of RFC 9106 section 4: 3 passes, 4 lanes, 64 MiB. One hash is computed at a
time, in a low-priority thread, so a flood of sign-ins takes 64 MiB and little of the calls' time. A few wait for their
turn; the others are told to try again. Attempts from networks where the account has not signed in wait behind all
others in a queue of their own, of which one network gets few places.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from admin_api.access.accounts_port import Busy
from storage.access.account import canonical

if TYPE_CHECKING:
    from argon2 import PasswordHasher

Result = TypeVar("Result")

PASSES, LANES, MEMORY = 3, 4, 64 << 10  # KiB
SALT_BYTES, HASH_BYTES = 16, 32
LEAST = 12
"""Characters. NIST SP 800-63B asks for 8 with a second factor, 15 without; no rules of composition, as it advises."""
MOST = 256
"""Characters; passphrases are shorter, and longer ones only cost time."""
MAX_WAITING = 16
"""Passwords that wait for their turn: three seconds' worth at 0.17 s of processor time each. As many from unknown
networks.
"""
MAX_OF_ONE = 4
"""Places of one unknown network, which may have any number of addresses (IPv6)."""
NICE = 10
"""For nice(2): a tenth of a media worker's share when both want a processor; at 19 nobody could sign in under full
load.
"""
_COMMON = frozenset(
    "123456789012 1234567890123 12345678901234 123456123456 111111111111 000000000000 password1234 password12345 "
    "passwordpassword passwort1234 passwortpasswort qwertyuiop12 qwertyuiop123 qwertzuiop12 qwertzuiop123 1q2w3e4r5t6y "
    "1qaz2wsx3edc iloveyou1234 administrator administrator1 letmeinletmein adminadminadmin welcome12345 "
    "willkommen12 willkommen123 hallohallo12 callrecorder recorderrecorder changemechangeme "
    "correcthorsebatterystaple".split()
)
"""Passwords of twelve or more characters that attackers try first."""


def fault(password: str, name: str) -> str:
    """Return why a password is not accepted as a code (password-short, -long, -easy), "" if it is accepted."""
    plain = canonical(password)
    if len(password) < LEAST:
        return "password-short"
    if len(password) > MOST:
        return "password-long"
    rest = plain.replace(canonical(name), "")
    if len(set(plain)) < LEAST // 3 or len(rest) < LEAST // 2 or plain.replace(" ", "") in _COMMON:
        return "password-easy"
    return ""


class Passwords:
    """Hashes and compares passwords, one at a time."""

    def __init__(self, *, passes: int = PASSES, memory: int = MEMORY) -> None:
        """Tests use less of both."""
        self._passes, self._memory = passes, memory
        self._waiting: Counter[str] = Counter()  # by network; known networks under ""
        self._working = False
        self._first: deque[asyncio.Future[None]] = deque()
        self._rest: deque[asyncio.Future[None]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    async def hash(self, password: str) -> str:
        """Return the hash of a password; raises Busy."""
        return await self._in_turn(lambda: self._hasher.hash(_bytes(password)))

    async def genuine(self, kept: str | None, password: str, elsewhere: str = "") -> bool:
        """Return whether it is the password; without a hash it takes as long and is wrong. Raises Busy.

        `elsewhere`: the network of the attempt, if the account has not signed in from there.
        """
        return await self._in_turn(lambda: self._compare(kept, password), elsewhere)

    def close(self) -> None:
        """Stop the thread."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(self, work: Callable[[], Result], elsewhere: str = "") -> Result:
        beside = self._waiting.total() - self._waiting[""] if elsewhere else self._waiting[""]
        if beside >= MAX_WAITING or (elsewhere and self._waiting[elsewhere] >= MAX_OF_ONE):
            raise Busy
        self._thread = self._thread or ThreadPoolExecutor(1, "passwords", _yield_to_calls)
        self._waiting[elsewhere] += 1
        try:
            await self._turn(self._rest if elsewhere else self._first)
            try:
                return await asyncio.wrap_future(self._thread.submit(work))
            finally:
                self._next()
        finally:
            self._waiting[elsewhere] -= 1
            self._waiting += Counter()  # drops zero counts

    async def _turn(self, queue: deque[asyncio.Future[None]]) -> None:
        """Wait until all earlier attempts, and those in a better queue, are done."""
        if not self._working:
            self._working = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # our attempt had its turn
                self._next()
            raise

    def _next(self) -> None:
        """Give the turn to the longest waiting attempt in the better queue."""
        for queue in (self._first, self._rest):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._working = False

    def _compare(self, kept: str | None, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        dummy = self._dummy  # made when the first password is compared, for any account
        try:
            self._hasher.verify(kept or dummy, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None

    @cached_property
    def _hasher(self) -> PasswordHasher:
        from argon2 import PasswordHasher, Type  # first needed when somebody signs in

        return PasswordHasher(self._passes, self._memory, LANES, HASH_BYTES, SALT_BYTES, type=Type.ID)

    @cached_property
    def _dummy(self) -> str:
        return self._hasher.hash(os.urandom(32))


def _bytes(password: str) -> bytes:
    """Encode at most the accepted length, so that nobody makes us hash a megabyte."""
    return password[: MOST + 1].encode("utf-8", "replace")


def _yield_to_calls() -> None:
    """Lower the priority of this thread; on Linux the threads that it starts for the lanes inherit it."""
    own = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, own, max(NICE, os.getpriority(os.PRIO_PROCESS, own)))
