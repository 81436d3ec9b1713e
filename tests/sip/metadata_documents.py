"""Metadata documents in the manner of each client family, written for these tests, and requests to go with them."""

from datetime import UTC, datetime

from sip.message.headers import Headers
from sip.message.message import Request

T0 = datetime(2026, 3, 1, 9, 0, 0, tzinfo=UTC)
T1 = datetime(2026, 3, 1, 9, 0, 30, tzinfo=UTC)
T2 = datetime(2026, 3, 1, 9, 1, 0, tzinfo=UTC)


def invite(*lines: str, uri: str = "sip:rec@192.0.2.200", method: str = "INVITE") -> Request:
    """Make a request with these header lines."""
    fields = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Request(method, uri, "SIP/2.0", Headers(fields), b"")


def rfc7865(
    *,
    mode: str = "complete",
    people: tuple[tuple[str, str, str], ...] = (
        ("pA==", "sip:anna@example.org", "Anna"),
        ("pB==", "sip:+4930555@example.org", "Ben"),
    ),
    streams: tuple[tuple[str, str], ...] = (("s1==", "1"), ("s2==", "2")),
    send: dict[str, tuple[str, ...]] | None = None,
    left: dict[str, str] | None = None,
    session: str = "sess==",
    extra: str = "",
) -> bytes:
    """Write a document of the final RFC."""
    send = {"pA==": ("s1==",), "pB==": ("s2==",)} if send is None else send
    left = left or {}
    xml = [f'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>{mode}</datamode>']
    if session:
        xml.append(f'<session session_id="{session}"><start-time>2026-03-01T08:59:59Z</start-time></session>')
    for participant, aor, name in people:
        inner = f'<name xml:lang="de">{name}</name>' if name else ""
        xml.append(f'<participant participant_id="{participant}"><nameID aor="{aor}">{inner}</nameID></participant>')
        gone = f"<disassociate-time>{left[participant]}</disassociate-time>" if participant in left else ""
        xml.append(
            f'<participantsessionassoc participant_id="{participant}" session_id="{session}">'
            f"<associate-time>2026-03-01T08:59:59Z</associate-time>{gone}</participantsessionassoc>"
        )
    for stream, label in streams:
        xml.append(f'<stream stream_id="{stream}" session_id="{session}"><label>{label}</label></stream>')
    for participant, sent in send.items():
        inner = "".join(f"<send>{stream}</send>" for stream in sent)
        xml.append(
            f'<participantstreamassoc participant_id="{participant}">{inner}<recv>other</recv></participantstreamassoc>'
        )
    return "".join([*xml, extra, "</recording>"]).encode()


AUDIOCODES = b"""<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="urn:ietf:params:xml:ns:recording" xmlns:ac="http://AudioCodes">
  <datamode>complete</datamode>
  <group id="0000-g1"><associate-time>2026-03-01T09:00:00</associate-time></group>
  <session id="0000-s1">
    <group-ref>0000-g1</group-ref>
    <associate-time>2026-03-01T09:00:00</associate-time>
    <ac:AvayaUCID xmlns="urn:ietf:params:xml:ns:Avaya"> FA080017001A2B3C4D5E</ac:AvayaUCID>
  </session>
  <participant id="+498955501" session="0000-s1">
    <nameID aor="+498955501@sbc.example.org"></nameID>
    <associate-time>2026-03-01T09:00:01</associate-time>
    <send>0000-t1</send><recv>0000-t2</recv>
  </participant>
  <participant id="+498955502" session="0000-s1">
    <nameID aor="+498955502"></nameID>
    <send>0000-t2</send><recv>0000-t1</recv>
  </participant>
  <stream id="0000-t1" session="0000-s1"><label>1</label></stream>
  <stream id="0000-t2" session="0000-s1"><label>2</label></stream>
</recording>
"""

ORACLE = b"""<?xml version='1.0' encoding='UTF-8'?>
<recording xmlns='urn:ietf:params:xml:ns:recording'>
  <datamode>complete</datamode>
  <session id="or-s">
    <associate-time>2026-03-01T09:00:00</associate-time>
    <extensiondata xmlns:apkt="http:/acmepacket.com/siprec/extensiondata">
      <apkt:ucid>00FA080017001A2B3C4D5E;encoding=hex</apkt:ucid>
    </extensiondata>
  </session>
  <participant id="or-2" session="or-s">
    <nameID aor="sip:4402@203.0.113.8"><name>&quot;Ward 7&quot;</name></nameID>
    <send>or-t2</send>
    <extensiondata xmlns:apkt="http://acmepacket.com/siprec/extensiondata">
      <apkt:callingParty>false</apkt:callingParty>
    </extensiondata>
  </participant>
  <participant id="or-1" session="or-s">
    <nameID aor="sip:+4315550@203.0.113.9"><name>+4315550</name></nameID>
    <send>or-t1</send>
    <extensiondata xmlns:apkt="http://acmepacket.com/siprec/extensiondata">
      <apkt:callingParty>true</apkt:callingParty>
      <apkt:header label="Diversion"><value>"Desk" &lt;sip:4400@203.0.113.8&gt;;reason=no-answer</value></apkt:header>
    </extensiondata>
  </participant>
  <stream id="or-t1" session="or-s"><label>335544321</label><mode>separate</mode></stream>
  <stream id="or-t2" session="or-s"><label>335544322</label><mode>separate</mode></stream>
</recording>
"""

ORACLE_UNESCAPED = b"""<?xml version='1.0' encoding='UTF-8'?>
<recording xmlns='urn:ietf:params:xml:ns:recording'>
  <datamode>complete</datamode>
  <session id="ou-s"/>
  <participant id="ou-1" session="ou-s">
    <nameID aor="sip:4401@203.0.113.8"><name>Support & Sales</name></nameID>
    <send>ou-t1</send>
    <extensiondata xmlns:apkt="http://acmepacket.com/siprec/extensiondata">
      <apkt:callingParty>true</apkt:callingParty>
      <apkt:request-uri><sip:record=ab12_2026@203.0.113.8:5060;dn=4401></apkt:request-uri>
      <apkt:header label=P-Asserted-Identity><value><sip:4401@203.0.113.8></value></apkt:header>
    </extensiondata>
  </participant>
  <participant id="ou-2" session="ou-s">
    <nameID aor="sip:4402@203.0.113.8"><naem>Ward</naem></nameID>
    <send>ou-t2</send>
  </participant>
  <stream id="ou-t1" session="ou-s"><label>11</label></stream>
  <stream id="ou-t2" session="ou-s"><label>12</label></stream>
</recording>
"""

BROADWORKS = b"""<?xml version="1.0" encoding="UTF-8"?>
<recording_metadata xmlns="urn:ietf:params:xml:ns:siprec">
  <dataMode>complete</dataMode>
  <recording id="urn:uuid:r1"><requestor>SRC</requestor><type>selective</type></recording>
  <group id="urn:uuid:g1" recording="urn:uuid:r1"><initiator>sip:frieda@voice.example.org</initiator></group>
  <session id="urn:uuid:s1" group="urn:uuid:g1"><start-time>2026-03-01T09:00:00+01:00</start-time></session>
  <participant id="urn:uuid:p1" session="urn:uuid:s1">
    <aor>sip:frieda@voice.example.org</aor><send><id>urn:uuid:t1</id></send>
  </participant>
  <participant id="urn:uuid:p2" session="urn:uuid:s1">
    <aor>sip:+493055577@198.51.100.7;user=phone</aor><send><id>urn:uuid:t1</id></send>
  </participant>
  <stream id="urn:uuid:t1" session="urn:uuid:s1"><label>1</label><mode>mixed</mode></stream>
  <extensiondata id="urn:uuid:x" parent="urn:uuid:s1">
    <broadWorksRecordingMetadata xmlns="http://schema.broadsoft.com/broadworksCallRecording" version="3.0">
      <extTrackingID>4711:1</extTrackingID>
      <userID>frieda@voice.example.org</userID>
      <callType><termCall>
        <callingPartyNumber>sip:+493055577@198.51.100.7;user=phone</callingPartyNumber>
        <calledPartyNumber>sip:+493055500@198.51.100.7</calledPartyNumber>
        <redirectInfo><lastRedirectNumber>sip:8105@198.51.100.7</lastRedirectNumber></redirectInfo>
      </termCall></callType>
      <recordingType>on</recordingType>
    </broadWorksRecordingMetadata>
  </extensiondata>
</recording_metadata>
"""

RIBBON = b"""<?xml version="1.0" encoding="UTF-8"?>
<tns:recording xmlns:tns="urn:ietf:params:xml:ns:recording">
  <tns:datamode>complete</tns:datamode>
  <tns:group group_id="rg"><callData xmlns='urn:ietf:params:xml:ns:callData'>
    <fromhdr>"Olga" &lt;sip:5551001@192.0.2.66&gt;;tag=1</fromhdr><tohdr>&lt;sip:5551002@192.0.2.66&gt;</tohdr>
    <gcid>1003</gcid></callData></tns:group>
  <tns:session session_id="rs"><tns:start-time>1970-01-01T00:00:00.000Z</tns:start-time></tns:session>
  <tns:participant participant_id="AAAAAAAAAAAAAAAA">
    <tns:nameID aor="5551001"><tns:name> </tns:name></tns:nameID></tns:participant>
  <tns:participant participant_id="BBBBBBBBBBBBBBBB">
    <tns:nameID aor="5551002"><tns:name> </tns:name></tns:nameID></tns:participant>
  <tns:stream stream_id="x1" session_id="rs"><tns:label>1</tns:label></tns:stream>
  <tns:stream stream_id="x2" session_id="rs"><tns:label>2</tns:label></tns:stream>
  <tns:participantstreamassoc participant_id="AAAAAAAAAAAAAAAA">
    <tns:send>x2</tns:send><tns:recv>x1</tns:recv></tns:participantstreamassoc>
  <tns:participantstreamassoc participant_id="BBBBBBBBBBBBBBBB">
    <tns:send>x1</tns:send><tns:recv>x2</tns:recv></tns:participantstreamassoc>
</tns:recording>
"""

METASWITCH = b"""<?xml version="1.0" encoding="UTF-8"?>
<recording id="mr==" xmlns="urn:ietf:params:xml:ns:recording">
<datamode>complete</datamode>
<session session_id="ms=="><start-time>2026-03-01T09:00:00Z</start-time></session>
<participant participant_id="m1=="><nameID aor="3055501"><name>3055501</name></nameID></participant>
<participantstreamassoc participant_id="m1=="><send>mt==</send><recv>mt==</recv></participantstreamassoc>
<participant participant_id="m2=="><nameID aor="3055502"><name>3055502</name></nameID></participant>
<participantstreamassoc participant_id="m2=="><send>mt==</send><recv>mt==</recv></participantstreamassoc>
<stream id="mt==" session_id="ms=="><label>1</label></stream>
<extensiondata><metaswitchRecordingMetadata>
<callType>originating</callType><recordedParty>+13055502</recordedParty>
<dialedDigits>3055501</dialedDigits><userName></userName>
</metaswitchRecordingMetadata></extensiondata>
</recording>
"""

NETSAPIENS = b"""<recording xmlns="urn:ietf:params:xml:ns:recording:1">
  <datamode>complete</datamode>
  <group group_id="ng"/>
  <session session_id="20260301"><group-ref>ng</group-ref><sipSessionID>ng;
      remote=other</sipSessionID></session>
  <participant participant_id="ng"><nameID aor="sip:201@t.example.org"><name>Grete</name></nameID></participant>
  <participant participant_id="n2"><nameID aor="sip:202@t.example.org"><name>Hans</name></nameID></participant>
  <stream stream_id="k1" session_id="20260301"><label>1</label></stream>
  <stream stream_id="k2" session_id="20260301"><label>2</label></stream>
  <participantsessionassoc participant_id="ng" session_id="20260301"/>
  <participantsessionassoc participant_id="n2" session_id="20260301"/>
  <participantstreamassoc participant_id="ng"><send>k1</send><recv>k2</recv></participantstreamassoc>
  <participantstreamassoc participant_id="n2"><send>k2</send><recv>k1</recv></participantstreamassoc>
  <netsapiensExtension xmlns="http://schema.netsapiens.com/netsapiensSipRec" version="1.1">
    <user userID="201@t.example.org"><callType>origCall</callType></user>
    <callingParty participant_id="n2">
      <nameID aor="sip:202@t.example.org"><name>Not a participant</name></nameID></callingParty>
    <calledParty participant_id="ng"><number>555201</number></calledParty>
  </netsapiensExtension>
</recording>
"""

AVAYA = b"""<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="urn:ietf:params:xml:ns:recording:1">
<dataMode>complete</dataMode>
<session session_id="00FA080017001A2B3C4D5E"></session>
<participant participant_id="aaaa0000aaaa0000aaaa"><nameID aor="sip:49305551@10.1.1.1"></nameID></participant>
<participantstreamassoc participant_id="aaaa0000aaaa0000aaaa"><send>f001</send></participantstreamassoc>
<participant participant_id="bbbb0000bbbb0000bbbb"><nameID aor="sip:ASBCE@sbce.example.org"></nameID></participant>
<participantstreamassoc participant_id="bbbb0000bbbb0000bbbb"></participantstreamassoc>
<stream stream_id="f001" session_id="00FA080017001A2B3C4D5E"><label>10</label></stream>
<stream stream_id="" session_id="00FA080017001A2B3C4D5E"><label>20</label></stream>
</recording>
"""

AVAYA_ANSWERED = (
    AVAYA.replace(b"bbbb0000bbbb0000bbbb", b"cccc0000cccc0000cccc")
    .replace(b"ASBCE@sbce.example.org", b"49305552@10.1.1.2")
    .replace(b'c"></participantstreamassoc>', b'c"><send>f002</send></participantstreamassoc>')
    .replace(b'stream_id=""', b'stream_id="f002"')
)

JAMBONZ = rfc7865(
    people=(("j1", "sip:+4930100@192.0.2.80", ""), ("j2", "sip:+4930200@192.0.2.80", "")),
    send={"j1": ("s1==",), "j2": ("s2==",)},
    extra=(
        '<extensiondata xmlns:jb="http://jambonz.org/siprec"><jb:callsid>c-1</jb:callsid>'
        "<jb:callednumber>+4930100</jb:callednumber><jb:callingnumber>+4930200</jb:callingnumber></extensiondata>"
    ),
)

TWILIO = rfc7865(
    people=(("w1", "C0FFEE01", ""), ("w2", "230000", "")),
    streams=(("s1==", "inbound"), ("s2==", "outbound")),
    send={"w1": ("s1==",), "w2": ("s2==",)},
).replace(
    b"</session>",
    b'<ExtensionParameters xmlns="http://provider.example/siprec"><Parameter name="Role" value="inbound"/>'
    b'<Parameter name="CallerDisplayName" value="Karla K"/><Parameter name="CalleeDisplayName" value="Ole O"/>'
    b"</ExtensionParameters></session>",
)

GOOGLE = b"""
<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="urn:ietf:params:xml:ns:recording:1">
  <session session_id="gs"><associate-time>2026-03-01T09:00:00Z</associate-time></session>
  <participant participant_id="src_p"><nameID aor="sip:kim@client.example.org"/></participant>
  <participant participant_id="dst_p"><nameID aor="sip:lou@client.example.org"/></participant>
  <stream stream_id="g1" media_label="1"><label>Caller_Stream</label></stream>
  <stream stream_id="g2" media_label="2"><label>Callee_Stream</label></stream>
  <extensiondata xmlns:google="http://google.com/siprec"><google:call id="CONV_1" project="p"/></extensiondata>
</recording>
"""

OPENSIPS_OLD = rfc7865(people=(("o1", "sip:@192.0.2.5", "x;lang=en"), ("o2", "sip:551@192.0.2.5;noa=int", "")), send={})

CUBE_BYE = b"""<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="urn:ietf:params:xml:ns:recording:1">
  <datamode>complete</datamode>
  <session session_id="sess=="><end-time>2026-03-01T09:01:00.000Z</end-time></session>
  <participant participant_id="pA=="><nameID aor="sip:anna@example.org"/></participant>
  <participantsessionassoc participant_id="pA==" session_id="pA==">
    <disassociate-time>2026-03-01T09:01:00Z</disassociate-time></participantsessionassoc>
  <participant participant_id="pB=="><nameID aor="sip:+4930555@example.org"/></participant>
  <participantsessionassoc participant_id="pB==" session_id="pB==">
    <disassociate-time>2026-03-01T09:01:00Z</disassociate-time></participantsessionassoc>
</recording>
"""

FAMILIES = {
    "rfc7865": rfc7865(),
    "audiocodes": AUDIOCODES,
    "oracle": ORACLE,
    "oracle unescaped": ORACLE_UNESCAPED,
    "broadworks": BROADWORKS,
    "ribbon": RIBBON,
    "metaswitch": METASWITCH,
    "netsapiens": NETSAPIENS,
    "avaya": AVAYA,
    "avaya answered": AVAYA_ANSWERED,
    "jambonz": JAMBONZ,
    "twilio": TWILIO,
    "google": GOOGLE,
    "opensips 2": OPENSIPS_OLD,
    "cube bye": CUBE_BYE,
}
"""A document of each client family."""
