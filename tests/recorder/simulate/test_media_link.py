import asyncio

import pytest

from recorder.simulate.media_link import MediaLink, MediaLost


async def test_a_media_process_answers_and_ends_on_request() -> None:
    link = MediaLink()
    await link.start()
    ports = (await link.do("open", address="127.0.0.1", lanes=2))["ports"]
    assert all(port % 2 == 0 for port in ports)
    figures = await link.do("count")
    assert figures["packets"] == 0
    await link.stop()
    await link.stop()


def test_a_process_that_died_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        link = MediaLink()
        await link.start()
        with pytest.raises(MediaLost):
            await link.do("no such command")
        await link.stop()

    asyncio.run(story())
    assert "KeyError" in capfd.readouterr().err
