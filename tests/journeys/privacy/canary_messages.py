"""Messages, requests and files with a canary in every place where somebody's data may stand.

What stands in square brackets is put in by whoever sends them.
"""

from __future__ import annotations

HEADERS = (
    'From: "{name: From name}" <sip:{number: From user}@{word: From host}.example>;tag=[tag]',
    'To: "{name: To name}" <sip:{word: To user}@{word: To host}.example;x={word: To parameter}>[to]',
    'P-Asserted-Identity: "{name: PAI name}" <tel:{number: PAI number}>',
    "Diversion: <sip:{number: Diversion}@pbx.example>;reason={word: Diversion reason}",
    "History-Info: <sip:{number: History-Info}@pbx.example>;index=1",
    "Remote-Party-ID: {word: RPID name} <sip:{number: RPID number}@pbx.example>",
    "Referred-By: <sip:{word: Referred-By}@pbx.example>",
    "Reason: SIP;cause=200;text={word: Reason}",
    "Authorization: Bearer {word: SIP bearer token}",
    "Proxy-Authorization: Digest username={word: SIP digest user},response={word: SIP digest response}",
    "Subject: {name: Subject} {number: Subject number}",
    "User-Agent: {word: User-Agent}",
    "Session-ID: {word: Session-ID}",
    "Organization: {name: Organization}",
    "X-{word: header name}: {name: header value}",
    "Call-Info: <https://pbx.example/{word: Call-Info path}?token={word: Call-Info token}>",
    "Contact: <sip:{word: Contact user}@[host]:[port];transport=[transport]>;+sip.src",
)
SDP = """v=0
o={word: SDP o} 1 1 IN IP4 127.0.0.1
s={name: SDP s}
i={word: SDP i}
u=https://{word: SDP u}.example/
e={word: SDP e}@pbx.example
p={number: SDP p}
c=IN IP4 127.0.0.1
t=0 0
a=tool:{word: SDP tool}
m=audio 40000 RTP/SAVP 8
a=label:1
a=ssrc:77 cname:{word: SDP cname}
a=x-{word: SDP attribute}:{number: SDP attribute value}
a=ice-ufrag:{word: SDP ice-ufrag}
a=ice-pwd:{word: SDP ice-pwd}{word: SDP ice-pwd}
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key: SDES key}
a=sendonly
m=audio 40002 RTP/SAVP 8
a=label:2
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key: second SDES key}
a=sendonly
"""
XML = """<?xml version="1.0"?><?pi {word: XML instruction}?><!-- {word: XML comment} -->
<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>
<group group_id="{word: XML group}"/><session session_id="{word: session id}"><sipSessionID>{word: sipSessionID}
</sipSessionID></session><participant participant_id="{word: participant id}">
<nameID aor="sip:{number: XML aor}@{word: XML aor host}.example"><name>{name: XML name}</name></nameID>
<extension><x y="{word: XML attribute}">{name: XML extension}</x></extension></participant>
<participantstreamassoc participant_id="{word: participant id}"><send>s1</send></participantstreamassoc>
<stream stream_id="s1" session_id="{word: session id}"><label>1</label></stream></recording>"""
REQUESTS = (  # method, path below the customer, body
    ("GET", "/calls?party={number: API party}", None),
    ("GET", "/calls?party=mailto%3A{word: API party mail}%40pbx.example&{word: API parameter name}=1", None),
    ("GET", "/calls?state={word: API parameter value}", None),
    ("GET", "/calls?cursor={word: API cursor}", None),
    ("GET", "/calls/{word: API call id}", None),
    ("GET", "/{word: API path}", None),
    ("{word: API method}", "/calls", None),
    ("GET", "/calls/[call]/media?format={word: API format}", None),
    ("PUT", "/calls/[call]/hold", '{"reason": "{name: hold reason}"}'),
    ("POST", "/calls/[call]/annotations", '{"text": "{name: annotation}"}'),
    ("POST", "/calls/[call]/annotations", '{"text": 7, "{word: JSON member}": "{word: JSON value}"}'),
    ("POST", "/calls/[call]/annotations", "{word: no JSON} {"),
    ("POST", "/exports", '{"party": "{number: export party}", "format": "csv", "reason": "{name: export reason}"}'),
    ("POST", "/exports", '{"party": "x", "columns": ["{word: export column}"], "reason": "r"}'),
    ("PUT", "/waiver", '{"document_sha256": "{word: waiver digest}", "signed_by": "{name: waiver signer}"}'),
    ("PUT", "/waiver", None),  # a good one, see WAIVER
    ("POST", "/erasures", '{"party": "{number: erasure party}", "reason": "{name: erasure reason}"}'),
    ("POST", "/erasures", '{"calls": ["[call]"], "reason": "{name: reason of a refused erasure}"}'),
    ("PUT", "/retention", '{"rules": [{"days": 9, "party": "{number: rule party}", "name": "{name: rule name}"}]}'),
    ("PUT", "/retention", '{"rules": [{"days": "{word: rule days}", "source": "{word: rule source}!"}]}'),
    ("GET", "/users/{word: API user id}", None),
)
CASE = (
    '{"kind": ["access", "erasure"], "identities": ["{number: letter number}", "{name: letter name}", "sip:{word: '
    'letter address}@pbx.example", "Zq"], "reference": "{name: letter reference}", "reason": "{name: letter reason}"}'
)
CASES = (  # of the request that CASE filed
    ("PUT", "/column-sets/{word: column set}", '{"columns": ["id", "party_name"]}'),
    ("PUT", "/column-sets/{word: column set}", '{"columns": ["{word: column of a set}"], "name": "{name: other set}"}'),
    ("GET", "/column-sets", None),
    ("POST", "/exports", '{"party": "x", "column_set": "{word: set of an export}", "reason": "r"}'),
    (
        "POST",
        "/requests",
        '{"kind": "{word: kind of request}", "identities": ["{name: wrong letter}"], "user": "{word: no user}"}',
    ),
    ("GET", "/requests?state={word: request state}", None),
    ("GET", "/requests/{word: request id}/candidates", None),
    ("GET", "/requests/[case]/candidates?cursor={word: candidates cursor}", None),
    ("GET", "/requests/[case]/candidates", None),
    ("PUT", "/requests/[case]/selection", '{"in": ["{word: selected id}"]}'),
    ("PUT", "/requests/[case]/selection", '{"in": ["[call]"]}'),
    ("PUT", "/requests/[case]/extension", '{"months": 2, "ground": "{word: ground of a delay}", "reason": "r"}'),
    ("PUT", "/requests/[case]/extension", '{"months": 2, "ground": "number", "reason": "{name: reason of a delay}"}'),
    ("POST", "/requests/[case]/report", '{"passphrase": "{word: bad phrase}", "recipient": "{word: recipient}"}'),
    ("POST", "/requests/[case]/report", '{"media": "wav", "passphrase": "{word: passphrase}{word: passphrase}"}'),
    ("GET", "/requests/[case]/report", None),
    ("POST", "/requests/[case]/erasure", '{"reason": "{name: reason of a request}"}'),
    ("POST", "/requests/[case]/close", '{"outcome": "{word: outcome}", "ground": "{word: ground}"}'),
)
WAIVER = (
    '{"document_sha256": "[sha]", "signed_by": "{name: signed_by}", "signed_at": "2026-01-01T00:00:00Z", '
    '"scope": "{name: waiver scope}", "expires_at": null}'
)
USERS = (
    "first_name,last_name,account_name,email,upn,object_id,numbers,addresses\n"
    "{name: CSV first name},{name: CSV last name},{word: CSV account},{word: CSV mail}@pbx.example,"
    "{word: CSV upn}@pbx.example,{word: CSV object id},{number: CSV number},sip:{word: CSV address}@pbx.example\n"
)
