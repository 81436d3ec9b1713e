"""An S3-compatible object store, used through obstore, and through boto3 for versions and their locks.

Both packages belong to the extra `s3` of the distribution and are imported at the first request. Their exceptions quote
the URL and the store's answer, so our errors name only the class of the exception. obstore hangs in a process that was
forked after its first use; this program starts processes by exec.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from mmap import mmap
from typing import TYPE_CHECKING, Any, TypeVar

from storage import extras
from storage.batches import batches
from storage.errors import DriverMissing, ObjectMissing, StorageError, StoreAway
from storage.objects.requests import Requests
from storage.objects.store import Features, Kept, Known, StoredObject, StoreSettings, nothing_known

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

CHUNK = 8 << 20  # bytes of one range
PIECE = 1 << 20  # bytes of an answer passed on at once
CLIENTS = 64  # most clients kept: one for each time-out and each date of a lock
PAGE = 1000  # versions deleted by one request: the most that S3 allows
CONNECT = timedelta(seconds=5)
LEAST_TIME = 30  # s for a request; the time-out covers the whole body, so a large body gets more
SLOWEST = 256 << 10  # lowest accepted rate of a body in bytes/s
RETRIES = 2  # few, so that an outage is noticed soon; the caller decides when to try again
RETRY_TIME = timedelta(seconds=20)
WAIT, LONGEST_WAIT = timedelta(milliseconds=100), timedelta(seconds=2)

_MISSING = "the object store needs packages that are not installed"
_CHECK_STORE = "check [storage] endpoint, bucket, ca and the store itself: recorder store check"
_CHECK_RIGHTS = "check [storage] access_key and secret_key, their rights on the bucket, and this machine's clock"
_DENIED = frozenset(
    "AccessDenied AllAccessDisabled InvalidAccessKeyId SignatureDoesNotMatch RequestTimeTooSkewed Forbidden 403".split()
)
_GONE = frozenset("NoSuchKey NoSuchVersion 404".split())
_UNKNOWN = frozenset("NotImplemented MethodNotAllowed 405 501".split())
_NO_VERSIONS = _UNKNOWN | frozenset("InvalidArgument InvalidRequest 400".split())


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, or a delete marker."""

    key: str
    id: str
    marker: bool


class S3:
    """One bucket; may be used by several threads."""

    def __init__(self, settings: StoreSettings, features: Features | None = None) -> None:
        """Prepare without connecting; `features`: what the store was seen to do, None to rely on nothing."""
        self.settings = settings
        self.features = features
        self.requests = Requests()
        self._lock = threading.Lock()
        self._stores: dict[tuple[int, tuple[tuple[str, str], ...]], S3Store] = {}
        self._versions: Any = None
        self._secrets: tuple[str, str] | None = None
        self._knows_versions = True

    def trust(self, features: Features) -> None:
        """Rely from now on on the features that the store was seen to have (storage.objects.probe)."""
        self.features = features

    # --- objects -----------------------------------------------------------------------------------------------------

    @property
    def locks(self) -> bool:
        """Return whether objects are to be locked against deletion, and the store was seen to keep a lock.

        If not, no lock may be requested: some stores overwrite the object with the request.
        """
        return bool(self.settings.lock) and self.features is not None and self.features.lock

    def put(self, name: str, data: bytes | mmap, until: datetime | None = None) -> bool:
        """Write an object with one request; return whether the answer alone proves that the store has these bytes.

        An accepted checksum is proof only if the store was seen to refuse a wrong one; otherwise the ETag must be the
        MD5, which the store computes. `until`: when the object's lock ends.
        """
        headers = _locked(self.settings.lock, until) if until is not None and self.locks else ()
        store, key = self._store(len(data), headers), self._key(name)
        answer = self._write("write an object", lambda client: client.put(store, key, data, use_multipart=False))
        if self.features is not None and self.features.checksum:
            return True
        tag = str(answer["e_tag"] or "").strip('"')
        return tag == hashlib.md5(data, usedforsecurity=False).hexdigest()

    def create(self, name: str, data: bytes) -> None:
        """Write an object that must not exist yet; only for probing a store."""
        store, key = self._store(len(data)), self._key(name)
        self._write("create an object", lambda client: client.put(store, key, data, use_multipart=False, mode="create"))

    def put_locked(self, name: str, data: bytes, mode: str, until: datetime) -> str | None:
        """Write an object under a lock and return the id of its version, None if none; only for probing a store."""
        store, key = self._store(len(data), _locked(mode, until)), self._key(name)
        answer = self._write("lock an object", lambda client: client.put(store, key, data, use_multipart=False))
        return None if answer["version"] is None else str(answer["version"])

    def size(self, name: str) -> int | None:
        """Return the size of an object in bytes, None if there is no such object."""
        store, key = self._store(0), self._key(name)
        try:
            return int(self._ask("look up an object", lambda client: client.head(store, key))["size"])
        except ObjectMissing:
            return None

    def range(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes of an object from `start` up to `end`; raise ObjectMissing."""
        store, key = self._store(end - start), self._key(name)
        return bytes(self._ask("read an object", lambda client: client.get_range(store, key, start=start, end=end)))

    def read(self, name: str, size: int, take: Callable[[bytes], object]) -> None:
        """Pass all bytes of an object of this size to `take`, in order; raise ObjectMissing if it does not exist."""
        if size <= CHUNK or (self.features is not None and not self.features.range):
            self._read_whole(name, size, take)
            return
        for start in range(0, size, CHUNK):
            end = min(start + CHUNK, size)
            try:
                data = self.range(name, start, end)
            except StoreAway:
                if start or self.features is not None:
                    raise
                self._read_whole(name, size, take)  # not probed yet: the store may not support ranges
                return
            if len(data) != end - start:
                raise StoreAway("the object store sent fewer bytes than asked for", _CHECK_STORE)
            take(data)

    def _read_whole(self, name: str, size: int, take: Callable[[bytes], object]) -> None:
        store, key = self._store(size), self._key(name)

        def read(client: Any) -> None:
            for data in client.get(store, key).stream(min_chunk_size=PIECE):
                take(bytes(data))

        self._ask("read an object", read)

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects whose names begin with `prefix`."""
        store, skip, whole = self._store(0), len(self.settings.prefix), self._key(prefix)
        folder = whole[: whole.rfind("/") + 1]  # obstore accepts whole path segments only
        pages = self._ask("list objects", lambda client: client.list(store, folder or None, chunk_size=PAGE))
        while page := self._ask("list objects", lambda client: next(pages, None)):
            for each in page:
                if each["path"].startswith(whole):
                    yield StoredObject(each["path"][skip:], int(each["size"]))

    # --- versions ----------------------------------------------------------------------------------------------------

    def remove(
        self, prefix: str, wanted: Callable[[str], bool], known: Known = nothing_known
    ) -> tuple[int, tuple[Kept, ...]]:
        """Delete every version of the wanted objects below `prefix`; return how many were found, and which are kept."""
        found = self._all_versions(prefix, wanted)
        if found is None:
            names = [self._key(each.name) for each in self.listing(prefix) if wanted(each.name)]
            store = self._store(0)
            for page in batches(names, PAGE):
                self._ask("delete objects", partial(_delete_all, store, page))
            return len(names), ()
        refused = False
        for some in batches(found, PAGE):
            refused = self._delete(some) or refused
        return len(found), self.kept(prefix, wanted, known) if refused else ()

    def kept(self, prefix: str, wanted: Callable[[str], bool], known: Known = nothing_known) -> tuple[Kept, ...]:
        """Return the remaining versions of the wanted objects, each kept by a lock or a hold."""
        found = self._all_versions(prefix, wanted)
        if found is None:
            if any(wanted(each.name) for each in self.listing(prefix)):
                raise StoreAway("the object store still has an object that was deleted", _CHECK_RIGHTS)
            return ()
        return tuple(self._why_kept(each, known) for each in found if not each.marker)

    def versions(self, prefix: str) -> list[Version] | None:
        """List every version and delete marker below a prefix; None if the store does not list versions."""
        return self._all_versions(prefix, lambda name: True)

    def _all_versions(self, prefix: str, wanted: Callable[[str], bool]) -> list[Version] | None:
        if not self._knows_versions:
            return None
        skip, bucket, key = len(self.settings.prefix), self.settings.bucket, self._key(prefix)

        def look(client: Any) -> list[Version] | None:
            found: list[Version] = []
            try:
                for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
                    for kind, marker in (("Versions", False), ("DeleteMarkers", True)):
                        found += (
                            Version(each["Key"], each["VersionId"], marker)
                            for each in page.get(kind, ())
                            if wanted(each["Key"][skip:])
                        )
            except Exception as problem:
                if (code := _code(problem)) in _NO_VERSIONS:
                    # Only an upgrade adds this request to a store; the next process asks again.
                    self._knows_versions = code not in _UNKNOWN
                    return None
                raise
            return found

        return self._ask_boto("list versions", look)

    def _delete(self, some: Sequence[Version]) -> bool:
        """Delete versions; return whether the store refused to delete any, as not every store says which."""
        asked = {"Objects": [{"Key": each.key, "VersionId": each.id} for each in some], "Quiet": True}
        bucket = self.settings.bucket
        answer = self._ask_boto("delete versions", lambda client: client.delete_objects(Bucket=bucket, Delete=asked))
        return bool(answer.get("Errors"))

    def _why_kept(self, version: Version, known: Known) -> Kept:
        """Return until when the store keeps a version; raise StoreAway if the version has neither a lock nor a hold."""
        name = version.key[len(self.settings.prefix) :]
        if (until := known(name)) is not None:
            return Kept(name, until)
        asked = {"Bucket": self.settings.bucket, "Key": version.key, "VersionId": version.id}
        head = self._ask_boto("read a lock", lambda client: client.head_object(**asked))
        until = head.get("ObjectLockRetainUntilDate")
        if head.get("ObjectLockLegalHoldStatus") == "ON":
            return Kept(name, None)
        if not isinstance(until, datetime):
            raise StoreAway("the object store refused to delete an object that has no lock", _CHECK_RIGHTS)
        return Kept(name, until)

    # --- locks -------------------------------------------------------------------------------------------------------

    def lock(self, name: str, until: datetime) -> None:
        """Lock an object at least until `until`; raise ObjectMissing. Reads the lock first: some stores shorten one."""
        place = {"Bucket": self.settings.bucket, "Key": self._key(name)}

        def extend(client: Any) -> None:
            head = client.head_object(**place)
            now, mode = head.get("ObjectLockRetainUntilDate"), head.get("ObjectLockMode")
            if isinstance(now, datetime) and now >= until:
                return
            wanted = "COMPLIANCE" if mode == "COMPLIANCE" else self.settings.lock.upper()  # never weaken a lock
            client.put_object_retention(**place, Retention={"Mode": wanted, "RetainUntilDate": until})

        self._ask_lock("lock an object", extend)

    def hold(self, name: str) -> None:
        """Put a legal hold on an object until `release`; raise ObjectMissing."""
        asked = {"Bucket": self.settings.bucket, "Key": self._key(name), "LegalHold": {"Status": "ON"}}
        self._ask_lock("hold an object", lambda client: client.put_object_legal_hold(**asked))

    def release(self, name: str) -> None:
        """End the legal hold of every version of an object, on which `hold` must have been called."""
        for each in self._all_versions(name, lambda found: found == name) or ():
            if not each.marker:
                asked = {"Bucket": self.settings.bucket, "Key": each.key, "VersionId": each.id}
                off = {**asked, "LegalHold": {"Status": "OFF"}}
                with suppress(ObjectMissing):
                    self._change_lock("release an object", partial(_put_legal_hold, off))

    def _ask_lock(self, what: str, work: Callable[[Any], None]) -> None:
        """Run `work`, which sets a lock; raise StoreAway if the store was not seen to keep one."""
        if not self.locks:
            raise StoreAway("the object store has not been seen to keep a lock", "run recorder store check")
        self._change_lock(what, work)

    def _change_lock(self, what: str, work: Callable[[Any], None]) -> None:
        def ask(client: Any) -> None:
            try:
                work(client)
            except Exception as problem:
                if _code(problem) in _GONE:
                    raise ObjectMissing("the object store has no such object", _CHECK_STORE) from None
                raise

        self._ask_boto(what, ask)

    # --- to probe a store --------------------------------------------------------------------------------------------

    def put_with_sum(self, name: str, data: bytes, sha256: str) -> None:
        """Write an object with a checksum that may be wrong; only for probing a store."""
        asked = {"Bucket": self.settings.bucket, "Key": self._key(name), "Body": data, "ChecksumSHA256": sha256}
        self._ask_boto("write an object", lambda client: client.put_object(**asked))

    def delete_version(self, name: str, version: str) -> None:
        """Delete one version of an object; only for probing a store."""
        asked = {"Bucket": self.settings.bucket, "Key": self._key(name), "VersionId": version}
        self._ask_boto("delete a version", lambda client: client.delete_object(**asked))

    # --- clients -----------------------------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        return self.settings.prefix + name

    def _store(self, size: int, headers: tuple[tuple[str, str], ...] = ()) -> S3Store:
        """Return a client whose time-out is long enough for a body of this size on a slow line.

        Time-outs are LEAST_TIME times a power of two, so that few clients are needed.
        """
        time_out = LEAST_TIME
        while time_out < LEAST_TIME + size / SLOWEST:
            time_out *= 2
        with self._lock:
            client = self._stores.get((time_out, headers))
            if client is None:
                if len(self._stores) >= CLIENTS:
                    self._stores.clear()
                try:
                    client = self._connect(time_out, headers)
                except ImportError:
                    raise DriverMissing(_MISSING, extras.how_to_install(extras.S3)) from None
                except OSError:
                    raise StoreAway("the file that [storage] ca names cannot be read", _CHECK_STORE) from None
                self._stores[(time_out, headers)] = client
        return client

    def _connect(self, time_out: int, headers: tuple[tuple[str, str], ...]) -> S3Store:
        from obstore.store import S3Store

        settings, (key, secret) = self.settings, self._credentials()
        options: dict[str, Any] = {
            "allow_http": settings.endpoint.startswith("http://"),
            "timeout": timedelta(seconds=time_out),
            "connect_timeout": CONNECT,
        }
        if headers:
            options["default_headers"] = dict(headers)
        if settings.ca is not None:
            options["root_certificate"] = settings.ca.read_text()
        endpoint = settings.endpoint
        if not settings.path_style:  # with a given endpoint, obstore does not put the bucket into the host name
            scheme, _, host = endpoint.partition("://")
            endpoint = f"{scheme}://{settings.bucket}.{host}"
        return S3Store(
            settings.bucket,
            endpoint=endpoint,
            region=settings.region,
            access_key_id=key,
            secret_access_key=secret,
            virtual_hosted_style_request=not settings.path_style,
            checksum_algorithm="SHA256",
            client_options=options,  # type: ignore[arg-type]
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": RETRY_TIME,
                "backoff": {"init_backoff": WAIT, "max_backoff": LONGEST_WAIT, "base": 2},
            },
        )

    def _boto(self) -> Any:
        with self._lock:
            if self._versions is None:
                import boto3
                from botocore.config import Config

                settings, (key, secret) = self.settings, self._credentials()
                style = "path" if settings.path_style else "virtual"
                self._versions = boto3.session.Session().client(
                    "s3",
                    endpoint_url=settings.endpoint,
                    region_name=settings.region,
                    aws_access_key_id=key,
                    aws_secret_access_key=secret,
                    verify=None if settings.ca is None else str(settings.ca),
                    config=Config(
                        retries={"total_max_attempts": RETRIES + 1},
                        connect_timeout=CONNECT.total_seconds(),
                        read_timeout=LEAST_TIME,
                        s3={"addressing_style": style},
                    ),
                )
            return self._versions

    def _credentials(self) -> tuple[str, str]:
        if self._secrets is None:
            self._secrets = self.settings.secrets()
        return self._secrets

    def _forget_clients(self) -> None:
        """Drop all clients, so that the next request reads the secrets again, which may have been replaced."""
        with self._lock:
            self._stores, self._versions, self._secrets = {}, None, None

    def _write(self, what: str, work: Callable[[Any], T]) -> T:
        """Return the result of `work`, which writes; a missing object then means that the bucket is missing."""
        try:
            return self._ask(what, work)
        except ObjectMissing:
            raise StoreAway("the object store has no such bucket", _CHECK_STORE) from None

    def _ask(self, what: str, work: Callable[[Any], T]) -> T:
        """Return the result of `work`, called with the module obstore; raises what `_translated` raises."""
        try:
            import obstore
        except ImportError:
            raise DriverMissing(_MISSING, extras.how_to_install(extras.S3)) from None
        return self.requests.do(lambda: self._translated(what, lambda: work(obstore)))

    def _ask_boto(self, what: str, work: Callable[[Any], T]) -> T:
        """Return the result of `work`, called with the boto3 client; raises what `_translated` raises."""
        return self.requests.do(lambda: self._translated(what, lambda: work(self._boto())))

    def _translated(self, what: str, work: Callable[[], T]) -> T:
        """Return the result of `work`; turn each failure into one of our errors, without the text of the answer.

        Raises StoreAway, ObjectMissing, DriverMissing.
        """
        try:
            return work()
        except StorageError:  # already one of our errors, or raised by the function that takes the bytes
            raise
        except ImportError:
            raise DriverMissing(_MISSING, extras.how_to_install(extras.S3)) from None
        except FileNotFoundError:
            raise ObjectMissing("the object store has no such object, or no such bucket", _CHECK_STORE) from None
        except Exception as problem:
            kind = type(problem).__name__
            denied = kind in ("PermissionDeniedError", "UnauthenticatedError") or _code(problem) in _DENIED
            if denied:
                self._forget_clients()
            raise StoreAway(
                f"the object store failed to {what} ({kind})", _CHECK_RIGHTS if denied else _CHECK_STORE
            ) from None


def _locked(mode: str, until: datetime) -> tuple[tuple[str, str], ...]:
    """Return the headers that lock an object when it is written."""
    return (
        ("x-amz-object-lock-mode", mode.upper()),
        ("x-amz-object-lock-retain-until-date", until.strftime("%Y-%m-%dT%H:%M:%SZ")),
        ("x-amz-sdk-checksum-algorithm", "SHA256"),  # without it the store answers a lock with 400
    )


def _put_legal_hold(asked: dict[str, Any], client: Any) -> None:
    client.put_object_legal_hold(**asked)


def _delete_all(store: S3Store, some: Sequence[str], client: Any) -> None:
    client.delete(store, some)


def _code(problem: Exception) -> str:
    """Return the code of a boto3 error, for comparison only, because the store writes this text."""
    answer = getattr(problem, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""
