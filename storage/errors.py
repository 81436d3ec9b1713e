"""The errors of storage; messages contain ids, offsets and file names, never personal data."""


class StorageError(Exception):
    """Root of all errors of this package; `hint` tells an operator what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


# --- parts ----------------------------------------------------------------------------------------------------------


class DamagedPart(StorageError):
    """A part is not as it was written; `offset` is the first byte of the file that cannot be trusted."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(f"{message} (offset {offset})", hint)
        self.offset = offset


class Torn(DamagedPart):
    """The end is missing; everything before `offset` is genuine."""


class Forged(DamagedPart):
    """Bytes were altered or moved, or belong to another part, call, customer or key."""


class BadEnd(Torn, Forged):
    """The last, shorter segment fails; a reader cannot tell whether it was cut or altered."""


class PartFull(StorageError):
    """The part has no segment numbers left; begin a new part."""


class PartExists(StorageError):
    """A part of this name exists already, open or finished; nothing was changed."""


class PartMissing(StorageError):
    """No such part."""


class OnOtherNode(StorageError):
    """Only another node has the requested data, at least for now; `node` is its number."""

    def __init__(self, message: str, node: int) -> None:
        super().__init__(message)
        self.node = node


# --- customers ------------------------------------------------------------------------------------------------------


class Incomplete(StorageError):
    """A customer's index and the components that need it could not be opened; the daemon tries again."""


class OtherNode(StorageError):
    """Another node serves a customer's database, or it was written with other keys; `node` names that node."""

    def __init__(self, message: str, hint: str, node: str) -> None:
        super().__init__(message, hint)
        self.node = node


class LinesMissing(StorageError):
    """A database has lost lines of another node's journal; `node` names the first such node."""

    def __init__(self, message: str, hint: str, node: str) -> None:
        super().__init__(message, hint)
        self.node = node


# --- keys -----------------------------------------------------------------------------------------------------------


class Forgotten(StorageError):
    """The key was erased on purpose; it cannot be recovered."""


class SealBroken(StorageError):
    """A sealed value is altered, cut, or belongs to another leaf, label or context."""


class KeysError(StorageError):
    """The keys of a customer cannot be used as they are."""


class KeysMissing(KeysError):
    """A secret or a file of `keys/` does not exist."""


class KeysWrong(KeysError):
    """A secret exists but does not fit: wrong root secret, another customer's file, or damage."""


class RootSecretWrong(KeysWrong):
    """The keys were made with another root secret."""


class KeysOutdated(KeysWrong):
    """The keys are older than the data beside them, so they could open what has been erased since."""


class KeysExposed(KeysError):
    """Users other than its owner may read a secret."""


class KeysExist(KeysError):
    """Some data of this customer exist already, so no new keys are made."""


class KeysUnsupported(KeysError):
    """This version knows this kind of root secret but cannot use it."""


# --- database -------------------------------------------------------------------------------------------------------


class DriverMissing(StorageError):
    """The package for this kind of database or object store is not installed."""


class DatabaseFault(StorageError):
    """The database refused a statement, which is a bug in this program."""


# --- object store ---------------------------------------------------------------------------------------------------


class StoreAway(StorageError):
    """A request to the object store failed and is tried again; the message contains nothing from the store's answer."""


class ObjectMissing(StorageError):
    """The object store has no such object."""


# --- disk -----------------------------------------------------------------------------------------------------------


class NoSpace(StorageError):
    """The disk or its quota is full; the old content is unchanged."""


class DiskFailed(StorageError):
    """The operating system refused to read or write; the message contains its text."""


class SyncFailed(StorageError):
    """Data written earlier may be lost; calling sync again would prove nothing."""
