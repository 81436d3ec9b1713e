"""Write the man pages and the shell completion: `python -m recorder.cli.manual FOLDER`.

Pages of commands come from the help of the command line, recorder.toml(5) from the model of the configuration. So both
always match the program, and nobody maintains them by hand. The order of the sections is that of man-pages(7).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

from recorder.cli.main import command
from recorder.config.model import SECTIONS, Customer, Directory, SignIn
from recorder.config.template import toml
from recorder.runtime.version import VERSION

STATUS = 'Exit status: 0 done, 1 the answer is "no", 2 wrong use or bad configuration, 3 cannot be done now.'
TABLES = {"customer": Customer, "directory": Directory, "sign_in": SignIn}
"""Tables that may occur several times."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option or argument of a command."""

    words: str
    """As the help writes it, such as `-o, --output <path>`."""
    names: tuple[str, ...]
    """`-o`, `--output`; of an argument nothing."""
    value: str
    """What follows, such as `<path>`; empty for a flag and for an argument."""
    text: str
    required: bool

    @property
    def is_path(self) -> bool:
        """Return whether the value is the name of a file."""
        return "<path>" in self.words


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a group of commands."""

    path: tuple[str, ...]
    """`recorder`, `token`, `create`"""
    summary: str
    """Its first sentence without the full stop."""
    paragraphs: tuple[str, ...]
    examples: tuple[str, ...]
    status: str
    parameters: tuple[Parameter, ...]
    commands: tuple[Command, ...]

    @property
    def page(self) -> str:
        """Return the name of its man page."""
        return "-".join(self.path)

    def all(self) -> Iterator[Command]:
        """Yield this command and every command below it."""
        yield self
        for each in self.commands:
            yield from each.all()


HELP = Parameter("--help", ("--help",), "", "Show a short help and exit.", False)
VERSION_FLAG = Parameter(
    "--version", ("--version",), "", "Print version and commit and exit; with --json as one JSON document.", False
)


def commands() -> Command:
    """Return `recorder` with everything below it."""
    return _read(command(), ("recorder",))


def _read(found: Any, path: tuple[str, ...]) -> Command:
    context = found.make_context(path[-1], [], resilient_parsing=True)
    text_ = str(found.help or "")
    paragraphs, examples, status = [], [], STATUS
    for paragraph in text_.split("\n\n"):
        text, _, example = " ".join(paragraph.split()).partition("Example: ")
        if example:
            examples.append(example)
        if text.startswith("Exit status: "):
            status = text
        elif text:
            paragraphs.append(text.strip())
    below = tuple(_read(each, (*path, name)) for name, each in getattr(found, "commands", {}).items())
    own = [parameter for each in found.params if (parameter := _parameter(each, context))]
    ends = [VERSION_FLAG, HELP] if len(path) == 1 else [HELP]
    return Command(path, _summary(paragraphs[0]), tuple(paragraphs), tuple(examples), status, tuple(own + ends), below)


def _summary(paragraph: str) -> str:
    return paragraph.partition(". ")[0].removesuffix(".")


def _parameter(found: Any, context: Any) -> Parameter | None:
    record = found.get_help_record(context)
    if record is None:
        return None
    words, text = record
    names = tuple(name for name in (*found.opts, *found.secondary_opts) if name.startswith("-"))
    value = words.rpartition(" ")[2] if names and not found.is_flag else ""
    return Parameter(words, names, value, " ".join(text.split()), found.required)


# --- man pages ---


def escaped(text: str) -> str:
    """Return a text that roff shows as it is (groff_char(7))."""
    for character, escape in (
        ("\\", "\\e"),
        ("-", "\\-"),
        ("'", "\\(aq"),
        ("`", "\\(ga"),
        ("^", "\\(ha"),
        ("~", "\\(ti"),
    ):
        text = text.replace(character, escape)
    return f"\\&{text}" if text.startswith(".") else text


def _paragraphs(texts: tuple[str, ...]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number:
            yield ".PP"
        yield escaped(text)


def _head(title: str, section: int, name: str, summary: str) -> list[str]:
    first = summary[:1].lower() + summary[1:] if summary[1:2].islower() else summary
    heading = f'.TH {escaped(title.upper())} {section} {_day()} "recorder {escaped(VERSION)}" "SIPREC call recorder"'
    return [heading, ".SH NAME", f"{escaped(name)} \\- {escaped(first)}"]


def _day() -> str:
    """Return the day of the build (https://reproducible-builds.org/specs/source-date-epoch/)."""
    return datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", time())), UTC).date().isoformat()


def command_page(one: Command) -> str:
    """Return the man page of a command."""
    bold = f"\\fB{escaped(' '.join(one.path))}\\fR"
    out = [*_head(one.page, 1, one.page, one.summary), ".SH SYNOPSIS"]
    if one.commands:
        out.append(f"{bold} \\fIcommand\\fR [\\fIargument\\fR ...]")
    else:
        out.append(" ".join([bold, *_synopsis(one)]))
    out += [".SH DESCRIPTION", *_paragraphs(one.paragraphs)]
    if one.commands:
        out.append(".SH COMMANDS")
        for each in one.commands:
            out += [
                ".TP",
                f"\\fB{escaped(each.path[-1])}\\fR",
                f"{escaped(each.summary)}. See \\fB{escaped(each.page)}\\fR(1).",
            ]
    for heading, named in (("ARGUMENTS", False), ("OPTIONS", True)):
        chosen = [each for each in one.parameters if bool(each.names) == named]
        out += [f".SH {heading}"] if chosen else []
        for parameter in chosen:
            out += [".TP", f"\\fB{escaped(parameter.words)}\\fR", escaped(parameter.text)]
    out += [".SH EXIT STATUS", escaped(one.status.removeprefix("Exit status: "))]
    if one.examples:
        out += [".SH EXAMPLES", ".nf", *map(escaped, one.examples), ".fi"]
    out += [".SH SEE ALSO", _see_also(one)]
    return "\n".join(out) + "\n"


def _synopsis(one: Command) -> Iterator[str]:
    yield "[\\fIoption\\fR ...]"
    for each in one.parameters:
        if each.required and each.names:
            yield f"\\fB{escaped(each.names[-1])}\\fR \\fI{escaped(each.value)}\\fR"
    for each in one.parameters:
        if not each.names:
            word = f"\\fI{escaped(each.words.partition(' ')[0])}\\fR"
            yield word if each.required else f"[{word}]"


def _see_also(one: Command) -> str:
    above = "-".join(one.path[:-1])
    pages = [(above, 1)] if above else []
    pages += [("recorderctl", 1), ("recorder.toml", 5)]
    return ", ".join(f"\\fB{escaped(name)}\\fR({section})" for name, section in pages)


def configuration_page() -> str:
    """Return recorder.toml(5)."""
    out = [
        *_head("recorder.toml", 5, "recorder.toml", "Configuration of the call recorder"),
        ".SH DESCRIPTION",
        escaped("One TOML file, by default /etc/recorder/recorder.toml. `recorder init` writes it, with comments."),
        escaped("`recorder check-config` reports every mistake in it. It never contains secrets."),
    ]
    for name, kind in SECTIONS.items():
        out += _table(f"[{name}]", kind)
    for name, kind in TABLES.items():
        out += _table(f"[[{name}]]", kind)
    out += [".SH FILES", ".TP", "\\fI/usr/share/doc/siprec\\-recorder/examples/recorder.toml\\fR"]
    out += ["Every setting with its default.", ".SH SEE ALSO"]
    out += ["\\fBrecorder\\fR(1), \\fBrecorder\\-check\\-config\\fR(1)"]
    return "\n".join(out) + "\n"


def _table(header: str, kind: type[Any]) -> Iterator[str]:
    yield f".SH {escaped(header)}"
    yield from _paragraphs(tuple(" ".join(text.split()) for text in (kind.__doc__ or "").split("\n\n")))
    for item in fields(kind):
        doc = item.metadata["doc"].rstrip()
        stop = "" if doc.endswith((".", "?", ")")) else "."
        yield from (".TP", f"\\fB{escaped(item.name)}\\fR", escaped(f"{doc}{stop} {_default(item)}"))


def _default(item: Field[Any]) -> str:
    if item.default is MISSING:
        return f"Required. Example: {toml(item.metadata['example'])}"
    if item.default in (None, ()):
        return "Unset by default."
    return f"Default: {toml(item.default)}"


# --- completion ---


def bash_completion(root: Command) -> str:
    """Return the completion for bash: names of commands, options, and files where an option wants one."""
    known = "|".join(f'"{" ".join(each.path)}"' for each in root.all() if len(each.path) > 1)
    cases = []
    for each in root.all():
        words = [below.path[-1] for below in each.commands]
        words += [name for parameter in each.parameters for name in parameter.names if name.startswith("--")]
        cases.append(f'        "{" ".join(each.path)}") words="{" ".join(words)}" ;;')
    return _BASH.format(known=known, cases="\n".join(cases), **_options(root))


def _options(root: Command) -> dict[str, str]:
    """Return the options that a path follows, and those that any other value follows; no name means both."""
    every = [parameter for each in root.all() for parameter in each.parameters if parameter.value]
    paths = {name for each in every if each.is_path for name in each.names}
    values = {name for each in every if not each.is_path for name in each.names}
    return {"paths": "|".join(sorted(paths)), "values": "|".join(sorted(values - paths))}


_BASH = """\
# bash completion for recorder(1) and recorderctl(1); made by recorder.cli.manual
_recorder() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} found=recorder words='' i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$found ${{COMP_WORDS[i]}}" in
            {known}) found="$found ${{COMP_WORDS[i]}}" ;;
        esac
    done
    case "$prev" in
        {paths}) found=file ;;
        {values}) found=value ;;
    esac
    case "$found" in
        file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
{cases}
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}}
complete -F _recorder recorder recorderctl
"""


def zsh_completion(root: Command) -> str:
    """Return the completion for zsh, which shows what each word means."""
    return "\n".join([_ZSH, *(_zsh_function(each) for each in root.all()), '_recorder "$@"', ""])


_ZSH = (
    "#compdef recorder recorderctl\n# zsh completion for recorder(1) and recorderctl(1); made by recorder.cli.manual\n"
)


def _zsh_function(one: Command) -> str:
    name = "_" + "_".join(one.path).replace("-", "_")
    lines = [f"{name}() {{"]
    if one.commands:
        lines += ["    local curcontext=$curcontext state line", "    local -a commands", "    commands=("]
        lines += [f"        '{_zsh(each.path[-1])}:{_zsh(each.summary)}'" for each in one.commands]
        lines += ["    )"]
    words = [word for each in one.parameters for word in _zsh_words(each)]
    words += ["'1: :->command'", "'*:: :->argument'"] if one.commands else []
    lines += ["    _arguments -C \\", " \\\n".join(f"        {word}" for word in words)]
    if one.commands:
        lines += ["    case $state in", "        command) _describe command commands ;;", "        argument)"]
        lines += ["            case $words[1] in"]
        for each in one.commands:
            lines.append(f"                {each.path[-1]}) _{'_'.join(each.path).replace('-', '_')} ;;")
        lines += ["            esac ;;", "    esac"]
    return "\n".join([*lines, "}", ""])


def _zsh_words(parameter: Parameter) -> Iterator[str]:
    action = "_files" if parameter.is_path else " "
    if not parameter.names:
        yield f"'*:{_zsh(parameter.words.partition(' ')[0])}:{action}'"
    for name in parameter.names:
        text = _zsh(parameter.text).replace("[", "\\[").replace("]", "\\]")
        value = f":{_zsh(parameter.value)}:{action}" if parameter.value else ""
        yield f"'{name}[{text}]{value}'"


def _zsh(text: str) -> str:
    """Return a text for a word of _arguments or _describe between single quotes."""
    return text.replace("\\", "\\\\").replace("'", "'\\''").replace(":", "\\:")


def files() -> dict[str, str]:
    """Return all files: their names and contents."""
    root = commands()
    pages = {f"{each.page}.1": command_page(each) for each in root.all()}
    return {
        **pages,
        "recorder.toml.5": configuration_page(),
        "recorder.bash": bash_completion(root),
        "_recorder": zsh_completion(root),
    }


def main() -> None:
    """Write them into the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
