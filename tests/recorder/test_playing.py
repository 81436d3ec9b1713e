"""From a stored call to what a renderer needs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from recorder.playing import media_parts, render_streams
from tests.recorder.stage import stage


def test_named_formats_are_told_and_static_ones_need_no_name() -> None:
    formats = [
        {"pt": 96, "encoding": "opus", "clock": 48000, "channels": 2, "fmtp": "useinbandfec=1"},
        {"pt": 8, "encoding": None, "clock": None, "channels": None, "fmtp": None},
    ]
    (one,) = render_streams([{"label": None, "media": "audio", "formats": formats}])
    assert (one.index, one.label, one.media) == (0, "0", "audio")
    assert list(one.payloads) == [96]


def test_only_media_parts_are_opened_and_all_are_closed(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            before = one.descriptors()
            with media_parts(call.customer, call.id, call.leaf) as parts:
                assert [p.ref.part for p in parts] == ["m1"]
            assert one.descriptors() == before

    asyncio.run(story())
