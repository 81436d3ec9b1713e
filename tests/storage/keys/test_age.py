"""What is encrypted here is opened by the age command and by pyrage, and is refused by both when it was touched."""

import io

import pyrage
import pytest

from storage.keys.age import CHUNK, BadRecipient, Encrypter, parse

PASSPHRASE = "correct horse battery"
LENGTHS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7]
QUICK = 2  # rounds of scrypt in tests that do not measure it


def encrypted(data, piece=10_000, **to):
    out = io.BytesIO()
    file = Encrypter(out.write, **to)
    for at in range(0, len(data), piece):
        file.write(data[at : at + piece])
    file.close()
    return out.getvalue()


@pytest.mark.parametrize("length", LENGTHS)
def test_pyrage_opens_a_file_only_with_its_key_or_passphrase(length):
    identity, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    data = bytes(range(256)) * (length // 256) + bytes(length % 256)
    made = encrypted(data, recipient=parse(str(identity.to_public())))
    assert pyrage.decrypt(made, [identity]) == data
    altered = [made[:-1] + bytes([made[-1] ^ 1]), *(made[:-cut] for cut in (1, 16, CHUNK + 16))]
    for file, key in ((made, other), *((file, identity) for file in altered)):
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(file, [key])
    sealed = encrypted(data, passphrase=PASSPHRASE, work=QUICK)
    assert pyrage.passphrase.decrypt(sealed, PASSPHRASE) == data
    with pytest.raises(pyrage.DecryptError):
        pyrage.passphrase.decrypt(sealed, PASSPHRASE + "!")


def test_a_guess_of_a_passphrase_costs_something():
    made = encrypted(b"", passphrase=PASSPHRASE)
    assert made.splitlines()[1].startswith(b"-> scrypt ") and made.splitlines()[1].endswith(b" 16")
    assert pyrage.passphrase.decrypt(made, PASSPHRASE) == b""


def test_files_of_the_same_content_differ_and_show_none_of_it():
    data = b"Anna Schmidt" * 100
    one, other = (encrypted(data, passphrase=PASSPHRASE, work=QUICK) for _ in range(2))
    assert one != other and b"Anna" not in one and PASSPHRASE.encode() not in one


def test_pieces_of_any_length_make_the_same_file():
    data = bytes(range(256)) * 700

    def fixed(piece):
        return encrypted(data, piece, passphrase="p", work=QUICK, random=lambda n: bytes(n))

    assert fixed(1000) == fixed(CHUNK) == fixed(len(data))


def test_a_recipient_is_read_strictly():
    good = str(pyrage.x25519.Identity.generate().to_public())
    assert parse(f" {good}\n") == parse(good.upper()) and len(parse(good)) == 32
    odd = [
        good[:-1],
        good + "q",
        good[:5].upper() + good[5:],
        "",
        "age1",
        "age1" + "q" * 58,
        "ssh-ed25519 AAAA",
        "AGE-SECRET-KEY-1",
        "äge1",
        "age1b" + good[5:],
        "1" * 200,
    ]
    for text in odd:
        with pytest.raises(BadRecipient):
            parse(text)


@pytest.mark.parametrize(
    "point",
    [
        "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z",  # 0
        "age1qyqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqj7vrya",  # 1
    ],
)
def test_a_recipient_of_low_order_is_none(point):
    with pytest.raises(BadRecipient):
        parse(point)
    with pytest.raises(BadRecipient):
        encrypted(b"", recipient=bytes(32))


def test_a_file_has_either_a_recipient_or_a_passphrase():
    for to in ({}, {"recipient": bytes(32), "passphrase": "p"}):
        with pytest.raises(ValueError):
            encrypted(b"", **to)
