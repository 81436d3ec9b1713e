"""Commands to try the recorder: demo, simulate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recorder.cli import console
from recorder.errors import WrongUse

_SUITES = (
    "AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32, AEAD_AES_128_GCM, AEAD_AES_256_GCM; all: each in turn; "
    "dtls: keys by DTLS-SRTP; none: plain RTP."
)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("demo")(demo)
    app.command("simulate")(simulate)


def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Folder to keep everything in; the server runs until Ctrl-C.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> int:
    """Record two SIPREC calls on this machine, and play them back. They go over TLS with SRTP.

    Example: recorder demo
    """
    from recorder.cli.demo import run_demo

    return run_demo(keep, browser=not no_browser)


def simulate(
    to: Annotated[
        list[str],
        typer.Option(help="SIP URI of the recorder; of several, a call tries the next after a 503 or 4 s of silence."),
    ],
    calls: Annotated[int, typer.Option(help="Number of calls.")] = 1,
    duration: Annotated[float, typer.Option(help="Length of each call in seconds.")] = 10.0,
    srtp: Annotated[str, typer.Option(help=_SUITES)] = "AES_CM_128_HMAC_SHA1_80",
    transport: Annotated[str | None, typer.Option(help="udp, tcp or tls; by default as in the URI.")] = None,
    codec: Annotated[str, typer.Option(help="g711 (A-law and mu-law), pcma, pcmu, g722 or opus.")] = "g711",
    rate: Annotated[float, typer.Option(help="New calls a second.")] = 50.0,
    hold: Annotated[float, typer.Option(help="Seconds that each call is on hold, in its middle.")] = 0.0,
    update: Annotated[bool, typer.Option("--update", help="Change a name by UPDATE during each call.")] = False,
    streams: Annotated[int, typer.Option(help="Streams of each call, one for each party.")] = 2,
    audio_kind: Annotated[
        str, typer.Option(help="coded: frames can be identified (G.711); tone: to listen.")
    ] = "coded",
    audio: Annotated[Path | None, typer.Option(help="Folder for the audio sent, one WAV for each stream.")] = None,
    source: Annotated[str | None, typer.Option(help="Local address; by default that of the route.")] = None,
    ca: Annotated[Path | None, typer.Option(help="Authorities to trust; by default the system's.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept any certificate.")] = False,
    certificate: Annotated[Path | None, typer.Option(help="Client certificate, if the recorder asks for one.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="Key of the client certificate.")] = None,
    video: Annotated[bool, typer.Option("--video", help="Send video of each party too.")] = False,
    video_codec: Annotated[str, typer.Option(help="vp8 or h264.")] = "vp8",
    swap_speakers: Annotated[
        bool, typer.Option("--swap-speakers", help="Report during each call that the first two swapped.")
    ] = False,
    rtcp_mux: Annotated[bool, typer.Option("--rtcp-mux", help="Offer RTP and RTCP on one port.")] = False,
    setup_timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 32.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> int:
    """Send SIPREC calls with known audio and print what was sent. This generates load, or checks an installation.

    Exit status: 0 all calls went as planned, 1 some did not, 2 wrong use, 3 nobody answers.

    Example: recorder simulate --to "sip:rec@192.0.2.10:5061;transport=tls" --calls 200 --duration 60 --srtp all

    Two recorders, in this order: recorder simulate --to "sip:rec@192.0.2.10" --to "sip:rec@192.0.2.11" --calls 10

    With video and a change of speakers: recorder simulate --to "sip:rec@192.0.2.10" --video --swap-speakers
    """
    from recorder.simulate.plan import Plan, PlanError

    plan = Plan(
        to[0], calls, duration, srtp, transport, codec, rate, hold, update, streams, audio_kind, audio,
        source=source, ca=ca, insecure=insecure, certificate=certificate, private_key=private_key,
        rtcp_mux=rtcp_mux, video=video, video_codec=video_codec,
        swap_speakers=swap_speakers, setup_timeout=setup_timeout, others=tuple(to[1:]),
    )  # fmt: skip
    try:
        report = _run_plan(plan)
    except PlanError as fault:
        raise WrongUse(str(fault)) from None
    console.document(report.as_dict()) if json else console.facts(report.facts())
    if report.unreachable:
        console.say(f"recorder: {report.unreachable}")
    return int(report.exit_status)


def _run_plan(plan: Any) -> Any:
    """Run a plan with a progress bar in hundredths."""
    import asyncio

    from recorder.cli.progress import progress
    from recorder.simulate.run import run

    done = 0.0
    with progress(f"{plan.calls} calls", 100) as advance:

        def show(share: float) -> None:
            nonlocal done
            advance(100 * share - done)
            done = 100 * share

        return asyncio.run(run(plan, show))
