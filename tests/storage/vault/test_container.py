"""A part is sealed and opened: against Tink both ways, and with every kind of damage."""

import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tink import proto_keyset_format, secret_key_access, streaming_aead  # type: ignore[import-untyped]  # Tink has no types
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2  # type: ignore[import-untyped]  # nor have its messages

from storage.errors import BadEnd, DamagedPart, Forged, PartFull, Torn
from storage.vault.container import (
    CONTROL_SEGMENT,
    HEADER,
    MAX_INDEX,
    MEDIA_SEGMENT,
    TAG,
    Defect,
    PartSecret,
    Reader,
    Sealer,
    new_part,
    open_part,
)
from tests.storage.flipped_bits import flips

KEY = bytes(range(32))
AAD = b"siprec-recorder/1\0acme\0call\0leaf\0m1"
SMALL = 64  # a segment size that makes many segments of little data


def sealed(plain: bytes, segment: int = SMALL, aad: bytes = AAD, key: bytes = KEY) -> bytes:
    header, secret = new_part(key, aad, segment, os.urandom)
    return header + Sealer(secret).finish(plain)


def reader(data: bytes, segment: int = SMALL, aad: bytes = AAD, key: bytes = KEY) -> Reader:
    secret = open_part(key, aad, data[:HEADER], segment)
    return Reader(secret, len(data), lambda offset, length: data[offset : offset + length])


def opened(data: bytes, segment: int = SMALL, aad: bytes = AAD, live: bool = False) -> bytes:
    return b"".join(reader(data, segment, aad).chunks(live))


def released(data: bytes) -> tuple[bytes, DamagedPart]:
    """Return what was handed out before the damage was found, and how it was named."""
    pieces: list[bytes] = []
    with pytest.raises(DamagedPart) as caught:
        pieces.extend(reader(data).chunks())
    return b"".join(pieces), caught.value


def tink(segment: int) -> streaming_aead.StreamingAead:
    streaming_aead.register()
    params = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
        ciphertext_segment_size=segment, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
    )
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(version=0, key_value=KEY, params=params)
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        value=key.SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    entry = tink_pb2.Keyset.Key(key_id=1, status=tink_pb2.ENABLED, output_prefix_type=tink_pb2.RAW, key_data=data)
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[entry]).SerializeToString()
    return proto_keyset_format.parse(keyset, secret_key_access.TOKEN).primitive(streaming_aead.StreamingAead)


class Kept(io.BytesIO):
    """Keep what was written when Tink closes the stream."""

    value = b""

    def close(self) -> None:
        self.value = self.value or self.getvalue()
        super().close()


def edges(segment: int) -> list[int]:
    first, full = segment - HEADER - TAG, segment - TAG
    return [0, 1, first - 1, first, first + 1, first + full - 1, first + full, first + full + 1, 40_000]


@pytest.mark.parametrize("segment", [CONTROL_SEGMENT, MEDIA_SEGMENT])
def test_tink_opens_what_we_seal(segment: int) -> None:
    for size in edges(segment):
        plain = os.urandom(size)
        with tink(segment).new_decrypting_stream(io.BytesIO(sealed(plain, segment)), AAD) as stream:
            assert stream.read() == plain


@pytest.mark.parametrize("segment", [CONTROL_SEGMENT, MEDIA_SEGMENT])
def test_we_open_what_tink_seals(segment: int) -> None:
    for size in edges(segment):
        plain, target = os.urandom(size), Kept()
        with tink(segment).new_encrypting_stream(target, AAD) as stream:
            stream.write(plain)
        assert opened(target.value, segment) == plain
        assert list(reader(target.value, segment).defects()) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=20), st.sampled_from([SMALL, CONTROL_SEGMENT]))
def test_pieces_of_any_size_make_the_same_part(pieces: list[bytes], segment: int) -> None:
    header, secret = new_part(KEY, AAD, segment, os.urandom)
    sealer = Sealer(secret)
    data = header
    for piece in pieces:
        data += sealer.add(piece)
        assert sealer.sealed == len(data)
        assert len(sealer.pending) + sealer.room == segment - TAG - (0 if sealer.index else HEADER)
        assert b"".join(pieces).startswith(opened(data, segment, live=True) + sealer.pending)
    data += sealer.finish()
    assert sealer.sealed == len(data)
    assert opened(data, segment) == b"".join(pieces)
    assert data == header + Sealer(secret).finish(b"".join(pieces))


@given(st.integers(0, SMALL), st.integers(0, 5 * SMALL))
def test_the_room_after_so_many_bytes_is_known_before(begun: int, size: int) -> None:
    _, secret = new_part(KEY, AAD, SMALL, os.urandom)
    sealer = Sealer(secret)
    sealer.add(bytes(begun))
    foreseen = sealer.room_after(size)
    sealer.add(bytes(size))
    assert foreseen == sealer.room


def test_nothing_is_sealed_after_the_end() -> None:
    sealer = Sealer(new_part(KEY, AAD, SMALL, os.urandom)[1])
    sealer.finish(b"end")
    last = Sealer(PartSecret(KEY, b"prefix7", SMALL), index=MAX_INDEX - 1)
    for more in (lambda: sealer.add(b"more"), sealer.finish, lambda: last.add(bytes(SMALL))):
        with pytest.raises(PartFull):
            more()


def test_two_parts_of_one_key_have_nothing_in_common() -> None:
    one, two = sealed(b"same" * 50), sealed(b"same" * 50)
    assert one[1:HEADER] != two[1:HEADER]
    assert one[HEADER:] != two[HEADER:]


def test_every_truncation_releases_only_whole_segments() -> None:
    plain = os.urandom(5 * SMALL)
    data = sealed(plain)
    for size in range(HEADER, len(data)):
        out, error = released(data[:size])
        assert isinstance(error, Torn)
        assert out == plain[: max(size // SMALL * (SMALL - TAG) - HEADER, 0)]
        assert error.offset <= size
    for size in range(HEADER):
        with pytest.raises(Torn):
            opened(data[:size])


def test_every_flipped_bit_is_found() -> None:
    plain = os.urandom(3 * SMALL)
    data = sealed(plain)
    for bit, bad in enumerate(flips(data)):
        if bit < 8:
            with pytest.raises(Forged):
                opened(bad)
            continue
        out, error = released(bad)
        whole = 0 if bit // 8 < HEADER else bit // 8 // SMALL
        assert isinstance(error, Forged)
        assert out == plain[: max(whole * (SMALL - TAG) - HEADER, 0)]
        assert error.offset == max(whole * SMALL, HEADER)


def test_swapped_repeated_and_dropped_segments_are_forged() -> None:
    plain = os.urandom(6 * SMALL)
    data = sealed(plain)
    one, two, three = (data[i * SMALL : (i + 1) * SMALL] for i in (1, 2, 3))
    for middle in (two + one, one + one, one + three + two, two):
        out, error = released(data[:SMALL] + middle + data[SMALL + len(middle) :])
        assert isinstance(error, Forged)
        assert plain.startswith(out)
        assert len(out) <= 2 * (SMALL - TAG)


def test_bytes_behind_the_end_are_forged() -> None:
    data = sealed(os.urandom(3 * SMALL - TAG * 3 - HEADER))
    assert len(data) == 3 * SMALL
    _, error = released(data + bytes(SMALL))
    assert isinstance(error, Forged)
    assert error.offset == len(data)


def test_another_key_place_part_or_header_opens_nothing() -> None:
    data = sealed(os.urandom(200))
    for other in (b"", AAD[:-1] + b"2", AAD.replace(b"acme", b"beta"), AAD.replace(b"call", b"cell")):
        with pytest.raises(Forged):
            opened(data, aad=other)
    with pytest.raises(Forged):
        b"".join(reader(data, key=bytes(32)).chunks())
    with pytest.raises(Forged):
        opened(sealed(os.urandom(200))[:HEADER] + data[HEADER:])


def test_a_part_being_written_is_read_to_its_last_whole_segment() -> None:
    plain = os.urandom(4 * SMALL)
    data = sealed(plain)
    for size in range(HEADER, len(data)):
        assert opened(data[:size], live=True) == plain[: max(size // SMALL * (SMALL - TAG) - HEADER, 0)]
    assert opened(data, live=True) == plain


def test_verification_goes_on_past_damage_and_joins_neighbours() -> None:
    data = bytearray(sealed(os.urandom(9 * SMALL)))
    for segment in (1, 2, 5):
        data[segment * SMALL + 3] ^= 1
    data[-1] ^= 1
    last = len(data) // SMALL * SMALL
    assert list(reader(bytes(data)).defects()) == [
        Defect("forged", SMALL, 2 * SMALL),
        Defect("forged", 5 * SMALL, SMALL),
        Defect("end", last, len(data) - last),
    ]


def test_verification_says_that_the_end_is_missing() -> None:
    data = sealed(os.urandom(9 * SMALL))
    for size, behind in ((3 * SMALL, 0), (HEADER, 0), (3 * SMALL + 5, 5)):
        assert list(reader(data[:size]).defects()) == [Defect("torn", size - behind, behind)]


def test_an_altered_last_segment_is_forged_and_not_cut_off() -> None:
    data = bytearray(sealed(os.urandom(3 * SMALL - TAG * 3 - HEADER)))
    data[-1] ^= 1
    assert len(data) == 3 * SMALL
    assert list(reader(bytes(data)).defects()) == [Defect("forged", 2 * SMALL, SMALL)]
    for live in (False, True):
        with pytest.raises(Forged) as caught:
            opened(bytes(data), live=live)
        assert not isinstance(caught.value, BadEnd)
        assert caught.value.offset == 2 * SMALL


def test_the_end_of_an_empty_part_may_be_cut_or_altered() -> None:
    data = sealed(b"")
    bad = data[:-1] + bytes([data[-1] ^ 1])
    assert list(reader(bad).defects()) == [Defect("end", HEADER, TAG)]
    with pytest.raises(BadEnd):
        opened(bad)
    assert list(reader(bad[:-1]).defects()) == [Defect("torn", HEADER, TAG - 1)]


def test_a_file_shorter_than_it_was_said_to_be_is_torn() -> None:
    data = sealed(os.urandom(200))
    secret = open_part(KEY, AAD, data[:HEADER], SMALL)
    with pytest.raises(Torn):
        list(Reader(secret, len(data) + 10, lambda offset, length: data[offset : offset + length]).chunks())


def test_a_secret_does_not_print_and_a_key_has_one_length() -> None:
    _, secret = new_part(KEY, AAD, SMALL, os.urandom)
    assert secret.key.hex() not in repr(secret) and str(secret.key) not in repr(secret)
    for other in (KEY[:-1], KEY + b"x"):
        with pytest.raises(ValueError):
            new_part(other, AAD, SMALL, os.urandom)
