"""Commands to try things out: demo, simulate."""

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
        Path | None, typer.Option(help="Folder to keep everything in; the server goes on until Ctrl-C.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> int:
    """Record real SIPREC calls to this very machine over TLS with SRTP, and play them back. Example: recorder demo"""
    from recorder.cli.demo import run_demo

    return run_demo(keep, browser=not no_browser)


def simulate(
    to: Annotated[str, typer.Option(help="SIP URI of the recorder.")],
    calls: Annotated[int, typer.Option(help="How many calls.")] = 1,
    duration: Annotated[float, typer.Option(help="Seconds of each call.")] = 10.0,
    srtp: Annotated[str, typer.Option(help=_SUITES)] = "AES_CM_128_HMAC_SHA1_80",
    transport: Annotated[str | None, typer.Option(help="udp, tcp or tls; by default as the URI says.")] = None,
    codec: Annotated[str, typer.Option(help="g711 (A-law and mu-law), pcma, pcmu, g722 or opus.")] = "g711",
    rate: Annotated[float, typer.Option(help="New calls a second.")] = 50.0,
    hold: Annotated[float, typer.Option(help="Seconds that each call is held in its middle.")] = 0.0,
    update: Annotated[bool, typer.Option("--update", help="Change a name by UPDATE during each call.")] = False,
    streams: Annotated[int, typer.Option(help="Streams of each call, one party each.")] = 2,
    audio_kind: Annotated[str, typer.Option(help="coded: frames can be found again (G.711); tone: to hear.")] = "coded",
    audio: Annotated[Path | None, typer.Option(help="Folder that gets what was sent, one WAV a stream.")] = None,
    source: Annotated[str | None, typer.Option(help="Own address; by default that of the route.")] = None,
    ca: Annotated[Path | None, typer.Option(help="Certificates that may vouch for it, else the system's.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Take any certificate.")] = False,
    certificate: Annotated[Path | None, typer.Option(help="Own certificate, if the recorder asks for one.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    video: Annotated[bool, typer.Option("--video", help="Pictures of each party too, as VP8.")] = False,
    swap_speakers: Annotated[
        bool, typer.Option("--swap-speakers", help="Say during each call that the first two have changed places.")
    ] = False,
    rtcp_mux: Annotated[bool, typer.Option("--rtcp-mux", help="Offer RTP and RTCP on one port.")] = False,
    setup_timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 32.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> int:
    """Place SIPREC calls with known audio at any recorder and say what was sent: load generator and installation check.

    Exit status: 0 all calls went as told, 1 some did not, 2 wrong use, 3 nobody answers.

    Example: recorder simulate --to "sip:rec@192.0.2.10:5061;transport=tls" --calls 200 --duration 60 --srtp all

    With pictures and a change of speakers: recorder simulate --to "sip:rec@192.0.2.10" --video --swap-speakers
    """
    from recorder.simulate import Plan, PlanError

    plan = Plan(
        to, calls, duration, srtp, transport, codec, rate, hold, update, streams, audio_kind, audio,
        source=source, ca=ca, insecure=insecure, certificate=certificate, private_key=private_key,
        rtcp_mux=rtcp_mux, video=video, swap_speakers=swap_speakers, setup_timeout=setup_timeout,
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
    """Run a plan under a bar that counts hundredths."""
    import asyncio

    from recorder.cli.progress import progress
    from recorder.simulate import run

    done = 0.0
    with progress(f"{plan.calls} calls", 100) as advance:

        def show(share: float) -> None:
            nonlocal done
            advance(100 * share - done)
            done = 100 * share

        return asyncio.run(run(plan, show))
