"""The root secret is found, or the reason why not is said."""

import os
from pathlib import Path

import pytest

from storage.errors import KeysError, KeysExposed, KeysMissing, KeysUnsupported, KeysWrong
from storage.keys.root_secret import RootSecret, load_root

SECRET = bytes(range(32))


def secret_file(path: Path, data: bytes = SECRET, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_serves(tmp_path: Path, mode: int) -> None:
    root = load_root(f"file:{secret_file(tmp_path / 'root', mode=mode)}", {})
    assert root.secret == SECRET
    assert SECRET.hex() not in repr(root)
    assert str(SECRET) not in repr(root)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o602, 0o601])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(KeysExposed) as caught:
        load_root(f"file:{secret_file(tmp_path / 'root', mode=mode)}", {})
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("data", [b"", SECRET[:-1], SECRET + b"\n"])
def test_it_has_exactly_32_bytes(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(KeysWrong):
        load_root(f"file:{secret_file(tmp_path / 'root', data)}", {})
    with pytest.raises(KeysWrong):
        RootSecret(data)


def test_a_missing_file_and_one_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(KeysMissing) as caught:
        load_root(f"file:{tmp_path / 'none'}", {})
    assert "recorder init" in caught.value.hint
    (tmp_path / "folder").mkdir(0o700)
    with pytest.raises(KeysError):
        load_root(f"file:{tmp_path / 'folder'}", {})
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeysWrong):
        load_root(f"file:{tmp_path / 'pipe'}", {})
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(KeysError):
        load_root(f"file:{tmp_path / 'loop'}", {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "root")
    os.chown(path, 12_345, 12_345)
    with pytest.raises(KeysExposed):
        load_root(f"file:{path}", {})


def test_a_systemd_credential_serves(tmp_path: Path) -> None:
    secret_file(tmp_path / "recorder-root-key", mode=0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert load_root("credential:recorder-root-key", environ).secret == SECRET
    for name in ("none", "../x", "..", "."):
        with pytest.raises(KeysError):
            load_root(f"credential:{name}", environ)
    with pytest.raises(KeysMissing, match="systemd"):
        load_root("credential:recorder-root-key", {})


@pytest.mark.parametrize(
    "source", ["pkcs11:token=x", "pkcs11:object=a?module-path=x", "", "file:", "credential:", "/etc/key", "s3:x"]
)
def test_other_sources_are_refused_in_a_sentence(source: str) -> None:
    with pytest.raises(KeysUnsupported) as caught:
        load_root(source, {})
    assert "file:" in caught.value.hint
