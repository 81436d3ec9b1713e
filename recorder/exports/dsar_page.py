"""Write the readable page of a report: one HTML file without scripts, in German or English; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from admin_api.page.framework.invisible_characters import visible
from recorder.exports.render_job import DAMAGED, INCOMPLETE

GERMAN = frozenset({"DE", "AT", "CH", "LI"})
"""Countries in which the page is German."""

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1b1b;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}h3{font-size:1rem;margin-bottom:0}td:first-child{white-space:nowrap}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #ccc}th{background:#f2f2f2}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.5rem}dt{font-weight:600}dd{margin:0}
audio,video{width:16rem;max-width:100%}ul{margin:0;padding-left:1.2rem}.note{color:#555}
@media print{audio,video{display:none}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src * file:"

ENGLISH = {
    "lang": "en",
    "title": "What we hold about you",
    "of": "From",
    "received": "Your request arrived",
    "made": "This report was made",
    "request": "Number of the request",
    "identities": "You named",
    "user": "Your directory record",
    "calls": "Recorded calls",
    "none": "No recorded call concerns you.",
    "begin": "Begin",
    "length": "Length",
    "you": "You",
    "others": "Others",
    "recording": "Recording",
    "kept": "Kept",
    "seen": "Seen or heard by",
    "nobody": "nobody",
    "until": "until {until}, {days} days after its end",
    "ever": "without a fixed end",
    "held": "under legal hold since {since}: it is not erased before that ends",
    "running": "still being recorded",
    "notes": "{n} corrections beside it",
    "files": "{n} transcripts or chats",
    "about": (
        "Times are in UTC. Names, numbers and words of other people are left out where possible: only "
        "how many people they are is given. Whoever looked at a call is named by role and time. "
        "calls.xlsx and calls.json hold the same for programs."
    ),
    "caller": "called",
    "callee": "was called",
    "answered": "answered",
    "redirected_by": "redirected the call",
    "redirected_to": "the call was redirected to you",
    "participant": "took part",
    "viewed": "looked at",
    "heard": "listened to",
    "read": "transcript read",
    "exported": "handed out in an export",
    "listener": "somebody who may listen",
    "privacy": "data protection",
    "admin": "administration",
    "operator": "operator of the recorder",
    "first_name": "First name",
    "last_name": "Last name",
    "account_name": "Account",
    "email": "E-mail",
    "upn": "Sign-in name",
    "object_id": "Number in the directory",
    "numbers": "Numbers",
    "addresses": "Addresses",
    "former": "Formerly",
}
DEUTSCH = {
    "lang": "de",
    "title": "Was wir über Sie gespeichert haben",
    "of": "Von",
    "received": "Eingang Ihres Antrags",
    "made": "Diese Auskunft wurde erstellt",
    "request": "Nummer des Antrags",
    "identities": "Sie nannten",
    "user": "Ihr Eintrag im Verzeichnis",
    "calls": "Aufgezeichnete Gespräche",
    "none": "Kein aufgezeichnetes Gespräch betrifft Sie.",
    "begin": "Beginn",
    "length": "Dauer",
    "you": "Sie",
    "others": "Andere",
    "recording": "Aufnahme",
    "kept": "Aufbewahrt",
    "seen": "Gesehen oder gehört von",
    "nobody": "niemandem",
    "until": "bis {until}, {days} Tage nach dem Ende",
    "ever": "ohne festes Ende",
    "held": "seit {since} gesperrt, weil es als Beweis gebraucht wird: bis zum Ende der Sperre wird nichts gelöscht",
    "running": "wird noch aufgezeichnet",
    "notes": "{n} Berichtigungen dazu",
    "files": "{n} Abschriften oder Chats",
    "about": (
        "Zeiten sind in UTC. Namen, Nummern und Worte anderer Menschen sind weggelassen, wo das geht; von ihnen "
        "steht nur die Anzahl da. Wer etwas angesehen hat, ist mit Aufgabe und Zeit genannt. "
        "calls.xlsx und calls.json enthalten dasselbe für Programme."
    ),
    "caller": "riefen an",
    "callee": "wurden angerufen",
    "answered": "nahmen ab",
    "redirected_by": "leiteten weiter",
    "redirected_to": "Gespräch wurde zu Ihnen geleitet",
    "participant": "nahmen teil",
    "viewed": "angesehen",
    "heard": "angehört",
    "read": "Abschrift gelesen",
    "exported": "in einem Export herausgegeben",
    "listener": "jemand, der hören darf",
    "privacy": "Datenschutz",
    "admin": "Verwaltung",
    "operator": "Betrieb des Rekorders",
    "first_name": "Vorname",
    "last_name": "Nachname",
    "account_name": "Konto",
    "email": "E-Mail",
    "upn": "Anmeldename",
    "object_id": "Nummer im Verzeichnis",
    "numbers": "Nummern",
    "addresses": "Adressen",
    "former": "Früher",
}

SENTENCES = {
    "A stream of this call mixes several people, or its owner is unknown: it cannot be separated and is silent.": (
        "In diesem Gespräch sind mehrere Menschen auf einer Spur, oder niemand weiß, wessen sie ist: Sie lässt sich "
        "nicht trennen und ist stumm."
    ),
    "The person has no other stream, so the media of this call are left out.": (
        "Die Person hat keine andere Spur; darum fehlt die Aufnahme dieses Gesprächs."
    ),
    "The call was still being recorded: its last seconds are silent.": (
        "Das Gespräch wurde noch aufgezeichnet: Was in den letzten Sekunden davor gesagt wurde, ist stumm."
    ),
    "This call has no media of this kind.": "Zu diesem Gespräch gibt es keine Aufnahme dieser Art.",
    "Left out: several people of this call may be this person, and nobody confirmed which.": (
        "Weggelassen: in diesem Gespräch können mehrere gemeint sein, und niemand hat gesagt, wer."
    ),
    DAMAGED: "Die Aufnahme ist beschädigt.",
    INCOMPLETE: "Die Aufnahme ist beschädigt: es ist nicht alles da.",
}
"""Messages about media (recorder.exports.media_zip), in German."""

Words = Mapping[str, str]


def words(country: str) -> Words:
    """Return the words in the language of a country, English if unknown."""
    return DEUTSCH if country.upper() in GERMAN else ENGLISH


def page(head: Mapping[str, Any], calls: Sequence[Mapping[str, Any]], user: Mapping[str, Any] | None, w: Words) -> str:
    """Return the page."""
    facts = [
        (w["of"], head["customer"]),
        (w["received"], _time(head["request"]["received_at"])),
        (w["made"], _time(head["created_at"])),
        (w["request"], head["request"]["id"]),
        (w["identities"], ", ".join(head["identities"])),
    ]
    body = [f"<h1>{_text(w['title'])}</h1>", _list(facts), f'<p class="note">{_text(w["about"])}</p>']
    if user is not None:
        body += [f"<h2>{_text(w['user'])}</h2>", _list(_user(user, w))]
        body += [f"<h3>{_text(w['seen'])}</h3>", _seen(user["seen"], w)]
    body += [f"<h2>{_text(w['calls'])}: {len(calls)}</h2>", _table(calls, w)]
    return (
        f'<!doctype html>\n<html lang="{w["lang"]}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" '
        f'content="{_POLICY}"><title>{_text(w["title"])}</title><style>{_STYLE}</style></head>\n'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _table(calls: Sequence[Mapping[str, Any]], w: Words) -> str:
    if not calls:
        return f"<p>{_text(w['none'])}</p>"
    names = ("begin", "length", "you", "others", "recording", "kept", "seen")
    heads = "".join(f'<th scope="col">{_text(w[name])}</th>' for name in names)
    rows = "\n".join(_row(call, w) for call in calls)
    return f"<table><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table>"


def _row(call: Mapping[str, Any], w: Words) -> str:
    cells = (
        _text(_time(call["started_at"])),
        _text(_length(call["duration_ms"])),
        _lines(_person(party, w) for party in call["person"]),
        _others(call),
        _recording(call, w),
        _text(_kept(call["kept"], call["ended_at"], w)),
        _seen(call["seen"], w),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _person(party: Mapping[str, Any], w: Words) -> str:
    known = dict.fromkeys(filter(None, (party["name"], party["number"] or party["uri"], party["known_as"])))
    return f"{w.get(str(party['role']), party['role'] or '')}: {', '.join(known)}"


def _others(call: Mapping[str, Any]) -> str:
    named = call.get("other_parties")
    if named is None:
        return _text(call["others"])
    return _lines(", ".join(filter(None, (party["name"], party["number"] or party["uri"]))) for party in named)


def _recording(call: Mapping[str, Any], w: Words) -> str:
    file, problem, parts = call["media"]["file"], call["media"]["problem"], []
    if file:
        kind = "video" if file.endswith(".mkv") else "audio"
        name = _text(file)
        parts.append(f'<{kind} controls preload="none" src="{name}"></{kind}><br><a href="{name}">{_text(file)}</a>')
    if problem:
        parts.append(_text(_german(problem) if w["lang"] == "de" else problem))
    parts += [
        _text(w[name].format(n=n)) for name, n in (("notes", call["annotations"]), ("files", call["attachments"])) if n
    ]
    for each in call.get("attachment_files") or ():
        parts.append(f'<a href="{_text(each["file"])}">{_text(each["file"])}</a>')
    parts += [_text(note["text"]) for note in call.get("annotation_texts") or ()]
    return "<br>".join(parts)


def _german(problem: str) -> str:
    """Translate the known sentences of a problem."""
    for english in sorted(SENTENCES, key=len, reverse=True):
        problem = problem.replace(english, SENTENCES[english])
    return problem


def _kept(kept: Mapping[str, Any], ended_at: str | None, w: Words) -> str:
    if ended_at is None:
        return w["running"]
    until = w["ever"] if kept["until"] is None else w["until"].format(until=_time(kept["until"]), days=kept["days"])
    held = kept["held_since"]
    return until if held is None else f"{until}; {w['held'].format(since=_time(held))}"


def _seen(entries: Sequence[Mapping[str, Any]], w: Words) -> str:
    if not entries:
        return _text(w["nobody"])
    return _lines(f"{_time(e['at'])}: {w.get(e['role'], e['role'])}, {w.get(e['what'], e['what'])}" for e in entries)


def _user(user: Mapping[str, Any], w: Words) -> list[tuple[str, str]]:
    names = ("first_name", "last_name", "account_name", "email", "upn", "object_id", "numbers", "addresses")
    found = [(w[name], _value(user.get(name))) for name in names if user.get(name)]
    former = "; ".join(f"{w.get(each['kind'], each['kind'])}: {each['value']}" for each in user.get("former") or ())
    return [*found, *([(w["former"], former)] if former else [])]


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _list(facts: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts) + "</dl>"


def _lines(texts: Iterable[str]) -> str:
    found = [_text(text) for text in texts]
    return found[0] if len(found) == 1 else "<ul>" + "".join(f"<li>{text}</li>" for text in found) + "</ul>"


def _time(text: str | None) -> str:
    """Write a time as 2026-01-15 09:30."""
    return "" if text is None else text[:16].replace("T", " ")


def _length(milliseconds: int) -> str:
    seconds = int(milliseconds) // 1000
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _text(value: object) -> str:
    """Escape a value for HTML; lone surrogates, which UTF-8 cannot carry, are replaced."""
    return escape(visible(str(value)).encode("utf-8", "replace").decode(), quote=True)
