"""Identities that act, and the names that stand for them in lists; pure.

An identity is a kind and an id: of a token or an account, issuer and `sub` of an OpenID Connect user, a user of the
operating system, or the recorder itself. Ids are compared, never names alone, because a name can be taken over, given
up, or imitated with letters that look the same. If a second person is needed, two names that *look* alike count as one,
because one person may have a token and an account.

    fault_of(name)        why a name is not allowed, "" if it is
    alike(name, other)    whether people would confuse the two
"""

import enum
import unicodedata
from dataclasses import dataclass, field

MAX_NAME = 64  # characters; names are in every audit entry
MAX_TYPED = 1024  # characters compared; the time to normalise a row of accents grows with the square of their number
MAX_SUBJECT = 255  # characters of `sub`: OpenID Connect Core section 2
RESERVED = ("recorder", "system", "unknown", "cli")
"""Names of the recorder's parts and its command line; a name that continues one with a colon is reserved too."""


class Kind(enum.StrEnum):
    """The kind of an identity; each comment says what the id is."""

    TOKEN = "token"  # an API token: its id
    ACCOUNT = "account"  # an account of the page: its id
    OPENID = "openid"  # an OpenID Connect user: issuer, a blank, `sub`
    SHELL = "shell"  # a user of the operating system: its number
    SYSTEM = "system"  # the recorder itself
    UNKNOWN = "unknown"  # somebody who was not authenticated


@dataclass(frozen=True, slots=True)
class Actor:
    """One identity, with its present name."""

    kind: Kind
    """Kind of the identity."""
    id: str = field(repr=False)
    """Unique within its kind and customer, and never reused."""
    name: str = field(repr=False)
    """Name for people to read; proves nothing."""
    holder: str = ""
    """For a token: id of its owner's account, "" if not given."""

    @property
    def identity(self) -> str:
        """Return the value to compare: the same for an account and the tokens of its owner."""
        return f"{Kind.ACCOUNT}:{self.holder}" if self.holder else f"{self.kind}:{self.id}"


RECORDER = Actor(Kind.SYSTEM, "recorder", "recorder")
STRANGER = Actor(Kind.UNKNOWN, "", "unknown")


def subject(issuer: str, sub: str) -> str:
    """Return the id of an OpenID Connect user (OpenID Connect Core section 2: unique only as a pair)."""
    return f"{issuer} {sub}"


def same(identity: str, name: str, other_identity: str, other_name: str) -> bool:
    """Return whether two identities may be one person; an identity is "" if only the name is known."""
    return (identity != "" and identity == other_identity) or alike(name, other_name)


def canonical(name: str) -> str:
    """Return a form of a name that is the same for all its spellings."""
    return " ".join(unicodedata.normalize("NFKC", name[:MAX_TYPED]).casefold().split())


def skeleton(name: str) -> str:
    """Return a form that is the same for names that look alike (after UTS 39 section 4; letters that look Latin)."""
    shown = unicodedata.normalize("NFKC", name[:MAX_TYPED]).translate(_CAPITALS).casefold().translate(_LETTERS)
    marked = unicodedata.normalize("NFC", shown)
    plain = "".join(each for each in marked if not _unseen(each) and unicodedata.category(each) != "Mn")
    for several, one in _SEVERAL:
        plain = plain.replace(several, one)
    return " ".join(plain.split())


def alike(name: str, other: str) -> bool:
    """Return whether people would confuse the two names."""
    return canonical(name) == canonical(other) or skeleton(name) == skeleton(other)


def fault_of(name: str) -> str:
    """Return why a name is not allowed for a token, an account or a person, as the end of a sentence; "" if it is."""
    plain = unicodedata.normalize("NFKC", name[:MAX_TYPED])
    shown = name.isprintable() and plain.isprintable() and not any(map(_unseen, plain))
    if not name.strip() or len(name) > MAX_NAME or not shown or not canonical(name) or not skeleton(name):
        return f"has 1 to {MAX_NAME} printable characters"
    if not _one_script(plain):
        return "is written in one script, so that no letter passes for another"
    letters = "".join(each for each in unicodedata.normalize("NFD", plain) if unicodedata.category(each) != "Mn")
    bare = "".join(each for each in skeleton(letters) if each.isalnum() or each == ":")
    if any(bare == word or bare.startswith(f"{word}:") for word in _RESERVED):
        return "is not one of the recorder's own: recorder, system, unknown, cli and what begins with these and a colon"
    return ""


def proper(name: str) -> bool:
    """Return whether a name is allowed."""
    return not fault_of(name)


def _one_script(plain: str) -> bool:
    """Return whether all letters are of one script, or of scripts that one language combines (UTS 39 section 5.2)."""
    scripts = {_script(each) for each in plain if unicodedata.category(each).startswith("L")}
    return len(scripts) <= 1 or any(scripts <= together for together in _TOGETHER)


def _script(letter: str) -> str:
    """Return the first word of a letter's Unicode name, which is its script."""
    return unicodedata.name(letter, "NONE").partition(" ")[0].partition("-")[0]


def _unseen(letter: str) -> bool:
    """Return whether a letter is invisible although Unicode calls it printable."""
    return letter in _UNSEEN or 0xFE00 <= ord(letter) <= 0xFE0F or 0xE0100 <= ord(letter) <= 0xE01EF


_UNSEEN = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
_TOGETHER = (
    frozenset({"LATIN", "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
)


def _pairs(text: str) -> dict[int, str]:
    """Parse "Αa Βb": each letter is followed by the Latin letter that it looks like."""
    return {ord(pair[0]): pair[1:] for pair in text.split()}


_CAPITALS = _pairs(  # compared before case folding: a Greek capital Η looks like H, a small one like n
    "Αa Βb Εe Ζz Ηh Ιi Κk Μm Νn Οo Ρp Τt Υy Χx Ϲc Ϳj "
    "Аa Вb Еe Ѕs Зз Іi Їi Јj Кk Мm Нh Оo Рp Сc Тt Уy Хx Үy Ԍg Ԛq Ԝw Ӏi Ьb "
    "Տs Օo Սu Լl Ոn Ꭰd Ꭱr Ꭲt Ꭵi Ꭺa Ꭻj Ꭼe Ꮃw Ꮇm Ꮋh Ꮐg Ꮓz Ꮢr Ꮤw Ꮥs Ꮪs Ꮮl Ꮯc Ꮲp Ꮶk Ᏼb Ꮩv Ꮍy"
)
_LETTERS = _pairs(
    "αa γy εe ηn ιl κk νv οo ρp σo ςc τt υu χx ωw ϲc ϳj μu "
    "аa вb гr еe ёe єe іl їl јj кk мm нh оo пn рp сc тt уy хx ѕs һh ԁd ԛq ԝw ԍg ӏl ьb үy зз "
    "օo ոn սu հh ցg զq յj ռn ɑa ɡg ɩl ıl ǀl ꞁl ɪl ᴀa ʙb ᴄc ᴅd ᴇe ɢg ʜh ᴊj ᴋk ʟl ᴍm ɴn ᴏo ᴘp ʀr ꜱs ᴛt ᴜu ᴠv ᴡw ʏy ᴢz "
    "0o 1l il |l ׃: ː: ˸: ։: ܃: ܄: ∶: ꞉: ‐- ‑- ‒- –- —- −- ˗-"
)
_SEVERAL = (("rn", "m"), ("vv", "w"))
_RESERVED = tuple("".join(skeleton(word).split()) for word in RESERVED)
