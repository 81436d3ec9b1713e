"""G.711 by table against FFmpeg's decoder."""

import pytest

from media.codecs import g711
from tests.in_process.rendered_calls import expand


@pytest.mark.parametrize(("tables", "oracle"), [(g711.ULAW, "pcm_mulaw"), (g711.ALAW, "pcm_alaw")])
def test_every_code_word_expands_as_ffmpeg_does(tables: tuple[bytes, bytes], oracle: str) -> None:
    words = bytes(range(256))
    assert bytes(g711.decode(words, tables)) == expand(words, oracle).tobytes()
    assert g711.decode(b"", tables) == b""
