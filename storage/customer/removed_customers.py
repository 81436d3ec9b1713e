"""The files kept of removed customers: the audit log, and the public key that proves it and the receipt."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from storage.audit.audit_files import AuditFiles
from storage.customer.settings import PLAN, REMOVED, removed_folder

PUBLIC_KEY = "public.key"


def removed(data_dir: Path) -> list[str]:
    """Return the names of the customers whose removal is done."""
    found = (path.parent for path in (data_dir / REMOVED).glob(f"*/{PUBLIC_KEY}"))
    return sorted(folder.name for folder in found if not (folder / PLAN).exists())


def public_key_of(data_dir: Path, name: str) -> Ed25519PublicKey:
    """Return the key that signed the receipt and the audit log of a removed customer."""
    written = (removed_folder(data_dir, name) / PUBLIC_KEY).read_text()
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(written.strip()))


def files_of(data_dir: Path, name: str) -> AuditFiles:
    """Return the audit log of a removed customer."""
    folder = removed_folder(data_dir, name)
    return AuditFiles(folder, folder, name)
