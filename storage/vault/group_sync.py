"""Group sync, which makes the writes of many callers durable with one system call.

`syncfs` writes back the whole data file system, so a thousand parts need only one call. If it fails, the kernel reports
the failure once and drops the lost pages; a second call would succeed and prove nothing. A failure is therefore final
for everything written before it: the waiting callers get SyncFailed, `epoch` grows, and a caller that wrote in an older
epoch abandons its part and begins a new one.
"""

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path

from storage.errors import SyncFailed
from storage.files.durable_files import disk_errors

_LIBC = ctypes.CDLL(None, use_errno=True)
_HINT = "the disk lost data: check the kernel log; parts being written continue in new files"


def syncfs(fd: int) -> None:
    """Write back the file system of `fd`; raises OSError."""
    if _LIBC.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def has_syncfs() -> bool:
    """Return whether the C library has `syncfs`; Linux reports its errors since 5.8."""
    return hasattr(_LIBC, "syncfs")


WHOLE_DISK: Callable[[int], None] | None = syncfs if has_syncfs() else None


class Syncer:
    """A thread that syncs one file system; callers wait on futures."""

    def __init__(self, folder: Path, sync: Callable[[int], None] | None = WHOLE_DISK) -> None:
        """Start the thread; if `sync` (of the whole file system) is None, callers must pass descriptors to `wait`."""
        self._sync = sync
        with disk_errors("open the data directory"):
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._turn = threading.Condition()
        self._waiting: list[tuple[Future[None], list[int]]] = []
        self._epoch = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        """Return the number of failures; data written in an older epoch may be lost."""
        return self._epoch

    def wait(self, fds: Iterable[int] = (), *, epoch: int | None = None) -> Future[None]:
        """Return a future that is done when everything written before this call is durable.

        The future gets SyncFailed if the sync fails, or if a sync has failed since `epoch`. `fds`: the written files,
        used only if the system has no `syncfs`.
        """
        future: Future[None] = Future()
        with self._turn:
            if self._closed or (epoch is not None and epoch != self._epoch):
                future.set_exception(SyncFailed("data written earlier may be lost", _HINT))
                return future
            self._waiting.append((future, [] if self._sync else [os.dup(fd) for fd in fds]))
            self._turn.notify()
        return future

    def close(self) -> None:
        """Complete the waiting futures, then stop."""
        with self._turn:
            self._closed = True
            self._turn.notify()
        self._thread.join()
        os.close(self._folder)

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                group, self._waiting = self._waiting, []
            error = self._write_back([fd for _, fds in group for fd in fds])
            if error:
                group += self._fail()
            _answer(group, error)

    def _fail(self) -> list[tuple[Future[None], list[int]]]:
        """Begin a new epoch; callers that joined during the sync may have lost data too, so they also fail."""
        with self._turn:
            self._epoch += 1
            late, self._waiting = self._waiting, []
        return late

    def _write_back(self, fds: list[int]) -> SyncFailed | None:
        try:
            if self._sync:
                self._sync(self._folder)
            else:
                for fd in fds:
                    os.fsync(fd)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "unknown error")
            return SyncFailed(f"writing back the data disk failed: {name}", _HINT)
        return None


def _answer(group: list[tuple[Future[None], list[int]]], error: SyncFailed | None) -> None:
    for future, fds in group:
        for fd in fds:
            os.close(fd)
        if not future.set_running_or_notify_cancel():
            continue
        if error:
            future.set_exception(error)
        else:
            future.set_result(None)
