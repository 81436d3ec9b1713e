"""Every codec, listened to: what was encoded comes out again; what cannot be decoded is silence of its length."""

from __future__ import annotations

import math
import subprocess
import sys
from array import array
from collections.abc import Sequence

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs import decoders
from media.codecs.amr import NARROW_BITS
from media.codecs.decoders import Format, Known, decoder
from tests.in_process.rendered_calls import codec_context, encode, expand, noise, snr, voice
from tests.media.codecs.test_speex import NARROW_ALONE, NARROW_TOGETHER, WIDE_ALONE, WIDE_TOGETHER

# 0.6 s of `voice`, encoded by an encoder of ITU-T G.729 (FFmpeg has none): 60 frames of 10 bytes.
G729_VOICE = bytes.fromhex(
    """
    af0f8bc000faddb8392daf8bd90a98e02f99e457af2a58faf9137edb8872094b595a984832614f9101abd8fb7b031b0ab87e
    090e595698c833c66e912f2bd91b570979c0a93e2f2ad998d63973a4a9c7239f591b380efac1a8722f2ad9c69bce2fbdbad1
    2f82591b7f0afa3b88262f6b5a1b30686fc3f547098b99093f095a0a80b2013bd996d0a972e2641b091658fa67091e0b00e2
    2f8ad993c868f2a72af32f6b58bb7c09dac1a87e090e598a9c58734b815301abd91a274959cb107c094e599698cf72cb754f
    2f82d91be70b5aca00e02f6b59c7b3a8ef573adb2f8c58fa670b1c1d50702f6ad9c6e0a950b2389a699dd9406f8bd80a8086
    2f2b59909bcb52c205de655bd8ab7f03deda00c02f8a59566992327143d72f2b58ab7f03de0001c0699fd95b132af2660e57
    2fe818bb5f03dd0a80c62f22d99055b2f2268a57018bd8bb5f0b5dda00f609ae5a02aed2ef17e057012bd8f27f02fcd1989e
    095b99d95c522f9636570183d942f4eaf92ab046094e59d6c782ef213bd72faad8bb7c0b5e0ac192012bd9d95322efce46d7
    090e598747aafa1b00c069db9996a3eaf2b2d911098f59436faafa01409201abd952483a3429c2972f02d95a503b7cda0096
    6d8bd95490ca3375ae97013a9912ff0b56a118da098fd9ca123aeee12a9b0153d8ee3f4b5eda00c62f2ad9c718c2f030efd7
    093f594c4f2239c22a4e2f8b59c88ad94d496991091658ea7f023d0b38772f2ad904906e72e753912f8b58fb7c035e1540e0
    093e59915362334240912f2b595a38527a1d40e02f2ad99518c2339a84c72faa5901e78e7bcae1320babd9cc9c586fbcba97
    """
)
# 1 s of `voice`, encoded by OpenCORE at 12.2 kbit/s (not every FFmpeg has it): 50 frames of 32 bytes.
AMR_VOICE = bytes.fromhex(
    """
    3c040e0064e65be7e8cbc52af3513444c00070033b6d992c00001480c436d0903ce03a0ce9e6636f60f8805bc88032785d4b
    0ab698e1893789d09a816b0db4d03c077bbe59e72bffc835816acb798e68c3df59e64857d9471b589a271af33f903c097804
    59e72bf60906d5bbe162a54266fc7447ad575d98a7a0284ab1341a503c08120259e67b6fc9c384bac98e006dc7b70d2805dd
    6f0ff92f83805c8052b03c09780459e67fe561e981bbdb1c868a480cb93642a83764405efc4d2032f2f03c08120259e67fe1
    61e980bafee86846c3dd45002d64bb3023dda4d39a34e9303c07780459e781f0e92580bbe2fbd4986909c1560d5469a4d1d7
    da84c91342e03c08120259e67fe1e85380ba2b5fd660edebcf8b04fe4b3062f8b1041bb89c503c09780459e67fe0e1f981bb
    e27a148c6be42034c6781c247ee06e415446f7f03c06120259e67fc32816d5bafaaf8b29c633bfa407522d69df840b82d69c
    b8b03c09780451e6d5c2218781cbb7e3c2c656dc474cf8a29ba608b8334da280c0d03c09780251e67c12c099864ae3cb5573
    c342652653f746ed98d8c3007ed085a03c0e1c0649e6747c618184aa97aaf547305f8c6a43b20b5158a8113a84d005a03c09
    780249e6776d208d827aec4e1c28c2e249b2664daa537da8f27ce4da5d603c0f780649e67ff8e0a0d5aafa3ddadc32fd8e09
    a06f81601038230f54e817803c09780249e6d168e08ad57ae1a0ef69fe608b675b183f2f0f80c883837690303c0f780649e7
    29f4203d842a585967cd000c795b1ff6ab5f5b2693481580b3d03c09780249e7216da04384fa55646e5fc42ac984d36b5c8f
    38c0c4b01cd09ad03c0f780649e67bec20a1862ac43ce3cb372707125bac896467ee9b682c6e0d403c09780249e679e60015
    84fa8169de4af0e2e5813d6d6464fbc506c826512ad03c0f780649e677f8609581aa316d7bdb32f21708ab6853ae3e2b9348
    3649a2603c09780249e7296f008384fa4b6533edf67641e8b33d562caa00f945262081903c0f780649e67be9e00f80aabede
    4fd912ef24cc01e0a3e7ce30d3208ab882803c09780249e67b6bc0a180faece86b4bfae34402af677f6f75b0b271cea820d0
    3c0f780461e679eee0cf819bf8c87dda40eb788fdb6e4dce1f28d0d134d19f103c08120259e66ff7e924d5baf28f12f9c712
    8107c0bdcffdef00fc70592162703c09780459e67ff7e85381bbaac004567dc3e00011376c6419f8fe50837c28503c081202
    59e67ff6896180bae0e2672cc2dff47824ed5e8505983004d67e52f03c09780459e6d5f6887180bbe48c696250090987ca3d
    7fa7bea0ea0711e4be703c08120259e6d5e5a1e980ba9e1e963af93b002446ec6be469e881069b8832b03c09780459e6d5f4
    a8c380bb19ee38797f6af58715695ffc46e80a03962688703c06120259e67ff0c906d5ba1b49db9ac1df7114a8b1254f7b80
    c0030646b8703c09780459e6d5e5a92581bb82c6a00e7e6369f015435f876880e94df2069c503c08120259e67fe041e181ba
    dcba3606c05fd3a024aa68842f12c4109b8a33503c07780459e781f001a980bb6fac539c4dbf83b07817ad428539e51d3240
    31f03c09780251e67fc2218981ca83207ce6f2e6312529316a30600c1a659d733e703c09780451e67a1e018180cbcb8b43a9
    4130837a66c149307bd8984ca6560af03c0e1c0449e6727ce181862aca06fe6dcc9e00cf01cbf02503eeb348b1ab08203c09
    780449e668f78803817acaf8d46a38aac266d349312b368026d2c1e3b7103c0f780449e67be9c01f81aa528faa74d023ee1c
    00483ca38e1a330e9c349c403c09780449e66f6f809184fa434867bb30b0cdb212c6cb0ef7401248cc8c38c03c0f780449e6
    d1e9e04981aae99dace8da130e58fac69653ffc8d24b372b92803c09780449e67b6de08b80fa1beb3ed93804c587372d6c9f
    761824c8e41996a03c0f780449e67ff8e029802a66cbeb43e777a81c23356b2c7f10d2ee1cc8bf703c09780449e6767f801d
    85fa817d27200043c1723ece4736d9c8d2483f8e90d03c0f780449e6d1e9e129802ae0bdf8a8d0ea0f006c50a92b3e6eb32d
    da2cb6b03c09780449e66de4208984fa4fe95ec938e4c249c8601e3704001143ec35a0803c0f780449e67be4a01b842acb9c
    ee1dd0d880e35813a18ff60c074c01e0bb303c09780449e66d6e803381fa6a69685f20fe45c0d2e964af7fc8c642c41ad4b0
    """
)


def sound_of(form: Format, payloads: Sequence[bytes]) -> tuple[array[int], int]:
    """Decode payloads; return the samples and the number of errors."""
    voice_of = decoder(form)
    if voice_of is None:
        pytest.fail("no decoder")
    pcm = b"".join([bytes(voice_of.decode(payload)) for payload in payloads])
    return array("h", pcm), voice_of.errors


def ffmpeg(codec: str, rate: int, packets: Sequence[bytes]) -> array[int]:
    """Decode by FFmpeg alone."""
    context = codec_context(codec, "r")
    context.sample_rate, context.layout = rate, "mono"
    linear = av.AudioResampler(format="s16", layout="mono", rate=rate)
    out = array("h")
    for packet in packets:
        for frame in context.decode(av.Packet(packet)):
            frame.pts = None
            for made in linear.resample(frame):
                out.frombytes(bytes(made.planes[0])[: 2 * made.samples])
    return out


def loudness(sound: Sequence[int], rate: int) -> list[float]:
    """Return the level of each 20 ms."""
    step = rate // 50
    return [math.sqrt(sum(s * s for s in sound[i : i + step]) / step) for i in range(0, len(sound) - step + 1, step)]


def likeness(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the correlation of two curves."""
    n = min(len(a), len(b))
    ma, mb = sum(a[:n]) / n, sum(b[:n]) / n
    over = sum((x - ma) * (y - mb) for x, y in zip(a[:n], b[:n], strict=True))
    return over / math.sqrt(sum((x - ma) ** 2 for x in a[:n]) * sum((y - mb) ** 2 for y in b[:n]))


NOISE = noise(1, 10)
GSM_FRAMES = [bytes([0xD0 | i & 15]) + bytes((7 * i + k) & 255 for k in range(32)) for i in range(20)]
L16_RATES = (8000, 11_025, 44_100, 48_000)
EXACT = {
    "PCMU": (Format("PCMU", 8000), NOISE, expand(b"".join(NOISE), "pcm_mulaw")),
    "pcma": (Format("pcma", 8000), NOISE, expand(b"".join(NOISE), "pcm_alaw")),
    "GSM as FFmpeg has it": (Format("GSM", 8000), GSM_FRAMES, ffmpeg("gsm", 8000, GSM_FRAMES)),
    **{
        f"L16 at {rate}": (Format("L16", rate), encode("pcm_s16be", voice(0.2, rate), rate), voice(0.2, rate))
        for rate in L16_RATES
    },
    "both channels of L16 together": (
        decoders.STATIC[10],
        [bytes.fromhex("0002 0004 8000 8000 7fff 7fff 7fff 8000")],
        array("h", [3, -32768, 32767, -1]),
    ),
}


@pytest.mark.parametrize(("form", "payloads", "sound"), EXACT.values(), ids=EXACT)
def test_codecs_without_loss_are_exact(form: Format, payloads: list[bytes], sound: array[int]) -> None:
    assert sound_of(form, payloads) == (sound, 0)
    assert sum(map(Known(form).samples_in, payloads)) == len(sound)


@pytest.mark.parametrize(
    ("form", "coding", "rate", "least", "latest"),
    [
        (Format("G722", 8000), "g722", 16_000, 25, 31),  # 2 ms, the codec's filter bank
        (Format("opus", 48_000, 2), "libopus", 48_000, 15, 312),  # 6.5 ms, the look-ahead of the encoder
    ],
    ids=["G.722 though its clock says 8 kHz (T6)", "Opus (T9)"],
)
def test_wide_band_codecs_are_heard_at_their_own_rate(
    form: Format, coding: str, rate: int, least: int, latest: int
) -> None:
    """Duties T6, T9."""
    sent = voice(1, rate)
    heard, errors = sound_of(form, encode(coding, sent, rate))
    ratio, delay = snr(sent, heard, latest + 40)
    assert (errors, Known(form).rate, Known(form).clock) == (0, rate, form.clock)
    assert abs(len(heard) - rate) <= (960 if coding == "libopus" else 0)
    assert ratio > least and delay <= latest


@pytest.mark.parametrize(
    ("toc", "samples"),
    [
        (b"\x00", 480),
        (b"\x18", 2880),
        (b"\x60", 480),
        (b"\x80", 120),
        (b"\xf8", 960),
        (b"\xf9", 1920),
        (b"\xfb\x03", 2880),
    ],
)
def test_the_length_of_an_opus_packet_stands_in_its_first_bytes(toc: bytes, samples: int) -> None:
    assert Known(Format("opus", 48_000, 2)).samples_in(toc + bytes(10)) == samples


@pytest.mark.parametrize(("bits", "least"), [(2, 18), (3, 26), (4, 35), (5, 42)])
@pytest.mark.parametrize(("prefix", "encoder"), [("", "g726le"), ("AAL2-", "g726")])
def test_g726_is_heard_at_every_rate_in_both_packings(bits: int, least: int, prefix: str, encoder: str) -> None:
    """RFC 3551 section 4.5.4: packets cut an unbroken row of codes, whose state goes on in the next one."""
    sent, size = voice(1, 8000), 20 * bits
    codes = b"".join(encode(encoder, sent, 8000, code_size=str(bits)))
    form = Format(f"{prefix}G726-{8 * bits}", 8000)
    heard, errors = sound_of(form, [codes[at : at + size] for at in range(0, len(codes), size)])
    ratio, delay = snr(sent, heard, 20)
    assert (len(heard), errors, delay) == (8000, 0, 0)
    assert ratio > least


@pytest.mark.parametrize("number", [2, 4, 10, 11])
def test_static_payload_types_need_no_rtpmap(number: int) -> None:
    """Duty T6: the tables of `sip` and `media` say the same."""
    from sip.sdp.description import STATIC as OFFERED

    form = decoders.STATIC[number]
    assert (form.name, form.clock, form.channels) == OFFERED[number]
    assert decoder(form) is not None


def g723_frames() -> list[bytes]:
    context = codec_context("g723_1", "w")
    context.sample_rate, context.layout, context.format, context.bit_rate = 8000, "mono", "s16", 6300
    sent, packets = voice(1, 8000), []
    for at in range(0, len(sent), 240):
        piece = sent[at : at + 240]
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(piece))
        frame.sample_rate, frame.pts = 8000, at
        frame.planes[0].update(piece.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        packets += [bytes(p) for p in context.encode(frame)]
    return packets + [bytes(p) for p in context.encode(None)]


def test_g723_is_decoded_with_any_number_of_frames_a_payload() -> None:
    frames = g723_frames()
    heard, errors = sound_of(Format("G723", 8000), frames)
    assert (len(heard), errors) == (240 * len(frames), 0)
    assert heard == ffmpeg("g723_1", 8000, frames)
    assert snr(voice(1, 8000), heard, 120)[0] > 15
    assert sound_of(Format("G723", 8000), [a + b for a, b in zip(frames[::2], frames[1::2], strict=True)])[0] == heard


def test_a_g723_sid_frame_is_30_ms_of_quiet_noise() -> None:
    voiced, sid, short = g723_frames()[3], bytes.fromhex("02102004"), b"\x01" + bytes(range(19))
    heard, errors = sound_of(Format("G723", 8000), [voiced + sid, sid, short])
    assert (len(heard), errors) == (4 * 240, 0)
    assert 0 < max(map(abs, heard[480:720])) < 1000
    assert sound_of(Format("G723", 8000), [b"\x03", voiced[:23]]) == (array("h"), 2)


def amr_frames() -> list[bytes]:
    """Return `voice(1, 8000)` in frames of AMR at 12.2 kbit/s, as an RTP payload has them behind its CMR."""
    return [AMR_VOICE[at : at + 32] for at in range(0, len(AMR_VOICE), 32)]


def bandwidth_efficient(frame: bytes) -> bytes:
    """Make the payload of RFC 4867 section 4.3 out of one stored frame."""
    kind, width = frame[0] >> 3 & 15, NARROW_BITS[frame[0] >> 3 & 15]
    speech = int.from_bytes(frame[1:], "big") >> 8 * len(frame[1:]) - width
    size = (10 + width + 7) // 8
    return (((15 << 6 | kind << 1 | 1) << width | speech) << 8 * size - 10 - width).to_bytes(size, "big")


def test_both_forms_of_amr_are_decoded_alike() -> None:
    frames = amr_frames()
    aligned, errors = sound_of(Format("AMR", 8000, 1, "octet-align=1"), [b"\xf0" + frame for frame in frames])
    bits = [bandwidth_efficient(frame) for frame in frames]
    checked = [b"\xf0" + frame[:1] + b"\x5a" + frame[1:] for frame in frames]
    assert errors == 0
    assert sound_of(Format("AMR", 8000), bits) == (aligned, 0)
    assert sound_of(Format("AMR", 8000, 1, "octet-align=1; crc=1"), checked) == (aligned, 0)
    assert aligned == ffmpeg("amrnb", 8000, frames)
    assert likeness(loudness(voice(1, 8000), 8000), loudness(aligned, 8000)) > 0.8


def test_g729_is_decoded_as_by_ffmpeg() -> None:
    frames = [G729_VOICE[i : i + 10] for i in range(0, 600, 10)]
    heard, errors = sound_of(Format("G729", 8000), [a + b for a, b in zip(frames[::2], frames[1::2], strict=True)])
    assert (len(heard), errors) == (4800, 0)
    assert heard == ffmpeg("g729", 8000, frames)
    assert likeness(loudness(voice(0.6, 8000), 8000), loudness(heard, 8000)) > 0.8


def test_a_sid_of_g729_annex_b_is_10_ms_of_silence_and_no_error() -> None:
    heard, errors = sound_of(Format("G729", 8000), [G729_VOICE[:10] + b"\x12\x34", b"\x12\x34"])
    assert (len(heard), errors) == (240, 0)
    assert not any(heard[80:])


@pytest.mark.parametrize(
    ("form", "size", "rate", "samples"),
    [
        (Format("iLBC", 8000, 1, "mode=20"), 38, 8000, 160),
        (Format("iLBC", 8000), 50, 8000, 240),
        (Format("iLBC", 8000), 100, 8000, 480),
        (Format("GSM", 8000), 33, 8000, 160),
        (Format("GSM", 8000), 66, 8000, 320),
    ],
)
def test_codecs_without_an_encoder_keep_their_time(form: Format, size: int, rate: int, samples: int) -> None:
    """Duty T11."""
    first = 0xD0 if form.name == "GSM" else 0
    payload = b"".join(
        bytes([first | i & 15]) + bytes(range(i, i + (33 if first else size) - 1))
        for i in range(size // (33 if first else size))
    )
    heard, _ = sound_of(form, [payload] * 5)
    assert (len(heard), Known(form).rate, Known(form).samples_in(payload)) == (5 * samples, rate, samples)


@pytest.mark.parametrize(
    ("rate", "alone", "together"), [(8000, NARROW_ALONE, NARROW_TOGETHER), (16_000, WIDE_ALONE, WIDE_TOGETHER)]
)
def test_speex_is_decoded_with_any_number_of_frames_a_payload(
    rate: int, alone: tuple[bytes, ...], together: tuple[bytes, ...]
) -> None:
    heard, errors = sound_of(Format("speex", rate), alone)
    assert (len(heard), errors) == (len(alone) * rate // 50, 0)
    assert max(map(abs, heard)) > 3000
    assert sound_of(Format("speex", rate), together) == (heard, 0)
    assert Known(Format("speex", rate)).samples_in(together[0]) == len(heard) // len(together)


def test_ilbc_continues_when_its_frame_length_changes() -> None:
    """FFmpeg's decoder knows one length from its beginning."""
    short, long = (bytes((i * k + 7) & 255 for i in range(size)) for size, k in ((38, 5), (50, 3)))
    heard, errors = sound_of(Format("iLBC", 8000), [short, short, long, long, long])
    assert (heard[:320], errors) == (sound_of(Format("iLBC", 8000), [short, short])[0], 0)
    assert heard[320:] == sound_of(Format("iLBC", 8000), [long, long, long])[0]


@pytest.mark.parametrize(
    ("form", "payload", "lasted"),
    [
        *((Format("opus", 48_000, 2), packet, 0) for packet in (b"", b"\xfb", b"\xfb\x00", b"\xfb\x3f")),
        (Format("opus", 48_000, 2), b"\xf9\x01\x02\x03", 1920),  # two frames of equal size in three bytes
        *(
            (Format(name, 8000), payload, 0)
            for name, payload in (
                ("G729", bytes(13)), ("GSM", bytes(32)), ("iLBC", b""), ("AMR", b"\xf0"), ("L16", bytes(3)),
                ("G723", bytes(25)),
            )
        ),
    ],
)  # fmt: skip
def test_a_payload_that_cannot_be_is_silence_and_counted(form: Format, payload: bytes, lasted: int) -> None:
    assert sound_of(form, [payload]) == (array("h", bytes(2 * lasted)), 1)


def test_an_empty_payload_does_not_end_the_decoder() -> None:
    packets = encode("g722", voice(0.1, 16_000), 16_000)
    heard, errors = sound_of(Format("G722", 8000), [packets[0], b"", *packets[1:]])
    assert (heard, errors) == sound_of(Format("G722", 8000), packets)
    assert errors == 0


@pytest.mark.parametrize(
    "form",
    [
        *(Format(name, 8000) for name in ("EVS", "telephone-event", "CN", "G728", "G726-48", "")),
        Format("AMR", 8000, 1, "robust-sorting=1"),
        Format("AMR-WB", 16_000, 1, "octet-align=1; interleaving=30"),
        Format("AMR", 8000, 2),
        Format("PCMU", 0),
        Format("speex", 11_025),
        Format("L16", 4000),
        Format("L16", 48_000, 3),
    ],
)
def test_what_is_unknown_or_no_audio_has_no_decoder(form: Format) -> None:
    """Duties T7, T8."""
    assert decoder(form) is None
    assert Known(form).sound is (form.name.lower() not in ("telephone-event", "cn"))


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("audio", "g726-24", True), ("audio", "EVS", False), ("audio", "CN", None), ("audio", None, None),
        ("video", "H264", True), ("video", "VP9", False), ("text", "t140", None),
    ],
)  # fmt: skip
def test_decodability_is_known_for_audio_and_video(kind: str, name: str | None, told: bool | None) -> None:
    assert decoders.decodable(kind, name) is told


@given(st.sampled_from(sorted(decoders.CODINGS)), st.binary(max_size=70))
def test_any_payload_lasts_as_long_as_it_says(name: str, payload: bytes) -> None:
    form = Format(name, 8000)
    heard, _ = sound_of(form, [payload])
    assert len(heard) == Known(form).samples_in(payload)


def test_g711_needs_no_ffmpeg() -> None:
    script = (
        "import sys; from media.codecs.decoders import Format, decoder; decoder(Format('PCMU', 8000)).decode(b'x');"
        "sys.exit('av' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
