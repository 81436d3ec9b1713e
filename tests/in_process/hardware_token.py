"""A SoftHSM token in its own folder: a PKCS#11 module in software instead of a device."""

import subprocess
from pathlib import Path
from urllib.parse import quote

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "271828"


def make_token(folder: Path, label: str = "recorder") -> dict[str, str]:
    """Make a token below a folder; return the environment that a process needs to use it."""
    tokens, config = folder / "tokens", folder / "softhsm2.conf"
    tokens.mkdir(parents=True, exist_ok=True)
    config.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(config)}
    words = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "314159"]
    subprocess.run(words, check=True, capture_output=True, env={"PATH": "/usr/bin:/bin", **environment}, timeout=30)
    return environment


def address(pin_file: Path, *, token: str = "recorder", key: str = "object=root", module: Path = MODULE) -> str:
    """Return the URI of a key in it; write the PIN into its file if that is missing."""
    if not pin_file.exists():
        pin_file.write_text(f"{PIN}\n")
        pin_file.chmod(0o600)
    return f"pkcs11:token={quote(token)};{key}?module-path={module}&pin-source=file:{quote(str(pin_file))}"
