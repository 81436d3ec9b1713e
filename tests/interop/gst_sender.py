"""A sender by GStreamer with statistics of its own; a program of the system's Python, which has its bindings.

Reads one JSON object: `local` (RTP port; RTCP above it), `host`, `port`, `rtcp` (where to), `seconds`, `after` (how
long reports are awaited in silence), `drop` (share of packets lost on the way), `ours`, `theirs` (SRTP keys and salt in
hex, or null). Writes one JSON object: `sent`, and `reports`, what each receiver report said.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gio, GLib, Gst  # noqa: E402 - which version is wanted has to be said first

LOOK_MS = 100
CIPHER = {"cipher": "aes-128-icm", "auth": "hmac-sha1-80"}
SOUND = (
    "audiotestsrc name=sound is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000,channels=1 ! alawenc "
    "! rtppcmapay min-ptime=20000000 max-ptime=20000000 ! session.send_rtp_sink_0 "
)
WAYS = {
    False: "session.send_rtp_src_0 ! {rtp} session.send_rtcp_src_0 ! {rtcp} udpsrc name=back "
    "! session.recv_rtcp_sink_0",
    True: "session.send_rtp_src_0 ! enc.rtp_sink_0 session.send_rtcp_src_0 ! enc.rtcp_sink_0 enc.rtp_src_0 ! {rtp} "
    "enc.rtcp_src_0 ! {rtcp} srtpenc name=enc udpsrc name=back caps=application/x-srtcp ! dec.rtcp_sink "
    "srtpdec name=dec dec.rtcp_src ! session.recv_rtcp_sink_0",
}
RTP = "identity name=way ! udpsink name=rtp host={host} port={port} sync=false async=false"
RTCP = "udpsink name=rtcp host={host} port={rtcp} sync=false async=false"


def bound(port: int) -> Any:
    """One socket for a port, to send and to hear."""
    made = Gio.Socket.new(Gio.SocketFamily.IPV4, Gio.SocketType.DATAGRAM, Gio.SocketProtocol.UDP)
    made.bind(Gio.InetSocketAddress.new_from_string("127.0.0.1", port), False)
    return made


def pipeline(told: dict[str, Any]) -> Any:
    """Build the sender."""
    way = WAYS[told["ours"] is not None].format(rtp=RTP, rtcp=RTCP).format(**told)
    made = Gst.parse_launch(f"rtpbin name=session {SOUND}{way}")
    for port, names in ((told["local"], ("rtp",)), (told["local"] + 1, ("rtcp", "back"))):
        shared = bound(port)
        for name in names:
            made.get_by_name(name).set_property("socket", shared)
    made.get_by_name("way").set_property("drop-probability", told["drop"])
    if told["ours"] is not None:
        secure(made.get_by_name("enc"), made.get_by_name("dec"), told)
    return made


def secure(enc: Any, dec: Any, told: dict[str, Any]) -> None:
    """Give keys to both directions."""
    enc.set_property("key", Gst.Buffer.new_wrapped(bytes.fromhex(told["ours"])))
    for kind in ("rtp", "rtcp"):
        for name, value in CIPHER.items():
            Gst.util_set_object_arg(enc, f"{kind}-{name}", value)
    words = [f"{kind}-{name}=(string){value}" for kind in ("srtp", "srtcp") for name, value in CIPHER.items()]
    caps = f"application/x-srtcp, srtp-key=(buffer){told['theirs']}, {', '.join(words)}"
    dec.connect("request-key", lambda _, __: Gst.Caps.from_string(caps))


def sources(session: Any) -> list[Any]:
    """Give the statistics of all sources, ours and the recorder's."""
    return [source.get_property("stats") for source in session.get_property("sources")]


def main() -> None:
    """Send, then wait for the last reports, then say what they were."""
    told = json.load(sys.stdin)
    Gst.init(None)
    made, loop = pipeline(told), GLib.MainLoop()
    out: dict[str, Any] = {"sent": 0, "reports": []}
    session = made.get_by_name("session").emit("get-internal-session", 0)

    def look() -> bool:
        for source in sources(session):
            if source.get_value("internal") and source.get_value("packets-sent"):
                out["sent"] = source.get_value("packets-sent")
            if source.get_value("have-rb"):
                names = ("fractionlost", "packetslost", "jitter", "exthighestseq", "round-trip")
                report = {name: source.get_value(f"rb-{name}") for name in names}
                if report not in out["reports"][-1:]:
                    out["reports"].append(report)
        return True

    def hush() -> bool:
        silent = made.get_by_name("sound")
        silent.set_locked_state(True)
        silent.set_state(Gst.State.PAUSED)
        return False

    def end() -> bool:
        loop.quit()
        return False

    GLib.timeout_add(LOOK_MS, look)
    GLib.timeout_add(int(told["seconds"] * 1000), hush)
    GLib.timeout_add(int((told["seconds"] + told["after"]) * 1000), end)
    made.set_state(Gst.State.PLAYING)
    loop.run()
    look()
    made.get_by_name("sound").set_locked_state(False)
    made.set_state(Gst.State.NULL)
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
