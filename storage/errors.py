"""Everything that can go wrong in storage; messages hold ids, offsets and names of files, never personal data."""


class StorageError(Exception):
    """Root of all errors of this package; `hint` tells an operator what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


# --- parts ----------------------------------------------------------------------------------------------------------


class DamagedPart(StorageError):
    """A part is not what was written; `offset` is the first byte of the file that cannot be trusted."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(f"{message} (offset {offset})", hint)
        self.offset = offset


class Torn(DamagedPart):
    """The end is missing: everything before `offset` is genuine."""


class Forged(DamagedPart):
    """Bytes are there that were not written so: altered, moved, or of another part, call, customer or key."""


class BadEnd(Torn, Forged):
    """The last, shorter segment fails: cut inside or altered, which no reader can tell apart."""


class PartFull(StorageError):
    """The part has reached the last segment its format can number: begin a new part."""


class PartExists(StorageError):
    """A part of this name exists already, open or finished; nothing was changed."""


class PartMissing(StorageError):
    """No such part."""


# --- customers ------------------------------------------------------------------------------------------------------


class Incomplete(StorageError):
    """The index of a customer and all that needs it could not be opened; the daemon tries again."""


# --- keys -----------------------------------------------------------------------------------------------------------


class Forgotten(StorageError):
    """The key was erased on purpose; nobody can bring it back."""


class SealBroken(StorageError):
    """A sealed value is altered, cut, or belongs to another leaf, label or context."""


class KeysError(StorageError):
    """The keys of a customer cannot be used as they are."""


class KeysMissing(KeysError):
    """A secret or a file of `keys/` is not there."""


class KeysWrong(KeysError):
    """A secret is there but does not fit: wrong root secret, another customer's file, or damage."""


class KeysOutdated(KeysWrong):
    """The keys are older than the data beside them: they would open again what was erased since."""


class KeysExposed(KeysError):
    """A secret may be read by others than its owner."""


class KeysExist(KeysError):
    """Something of this customer exists already, so no new keys are made."""


class KeysUnsupported(KeysError):
    """This kind of root secret is known but cannot be used by this version."""


# --- database -------------------------------------------------------------------------------------------------------


class DatabaseFault(StorageError):
    """The database refused a statement: a fault of this program."""


# --- disk -----------------------------------------------------------------------------------------------------------


class NoSpace(StorageError):
    """The disk or its quota is full; what was there before is unchanged."""


class DiskFailed(StorageError):
    """The operating system refused to read or write; the text is its own."""


class SyncFailed(StorageError):
    """Data written before may be lost; calling sync again proves nothing."""
