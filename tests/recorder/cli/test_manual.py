"""Man pages and completion say what the command line and the configuration know, and their readers find no fault."""

import shutil
import subprocess
from dataclasses import fields

import pytest

from recorder.cli import manual
from recorder.config.model import SECTIONS

ROOT = manual.commands()
EVERY = list(ROOT.all())
LEAVES = [each for each in EVERY if not each.commands]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("manual")
    for name, text in manual.files().items():
        (made / name).write_text(text)
    return made


def test_there_is_a_page_for_every_command():
    names = {each.page for each in EVERY}
    assert {"recorder", "recorder-serve", "recorder-token", "recorder-token-create"} <= names
    assert set(manual.files()) == {f"{name}.1" for name in names} | {"recorder.toml.5", "recorder.bash", "_recorder"}


def test_a_page_explains_every_option_and_argument():
    pages = {one: manual.command_page(one) for one in EVERY}
    wanted = [
        (one, f"\\fB{manual.escaped(each.words)}\\fR\n{manual.escaped(each.text)}\n")
        for one in EVERY
        for each in one.parameters
    ]
    assert [(one.page, text) for one, text in wanted if "\n\n" in text or text not in pages[one]] == []
    assert [(one.page, each) for one in EVERY for each in one.examples if manual.escaped(each) not in pages[one]] == []


def test_the_configuration_page_has_every_setting_and_default():
    page = manual.configuration_page()
    for name, kind in {**SECTIONS, **manual.TABLES}.items():
        assert f"{name}]" in page
        assert all(f"\n\\fB{item.name}\\fR\n" in page for item in fields(kind))
    assert 'Default: "/var/lib/recorder"' in page


def test_a_line_cannot_become_a_roff_request():
    assert manual.escaped(".so /etc/passwd") == "\\&.so /etc/passwd"
    assert manual.escaped("'x' \\fB") == "\\(aqx\\(aq \\efB"


def completed(folder, *lines):
    """Return what bash offers for the last word of each line."""
    steps = [f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; step" for words in lines]
    script = ['source "$0"', 'step() { _recorder; echo "${COMPREPLY[@]}"; }', *steps]
    shell = ["bash", "-c", "\n".join(script), folder / "recorder.bash"]
    done = subprocess.run(shell, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_bash_offers_every_command_and_option(folder):
    options = [{name for each in one.parameters for name in each.names if name.startswith("--")} for one in EVERY]
    words = [found | {each.path[-1] for each in one.commands} for one, found in zip(EVERY, options, strict=True)]
    for last, wanted in (("-", options), ("", words)):
        offered = completed(folder, *((*one.path, last) for one in EVERY))
        assert dict(zip(EVERY, offered, strict=True)) == dict(zip(EVERY, wanted, strict=True))


def test_bash_offers_files_only_where_a_path_is_wanted(folder):
    token, create = ("recorderctl", "token", "re"), ("recorder", "token", "create", "--customer", "")
    files, nothing, names = completed(folder, ("recorder", "serve", "--config", "rec"), create, token)
    assert "recorder.bash" in files
    assert (nothing, names) == (set(), {"revoke"})


def said(*words):
    """Return what a program complains of."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    return done.stderr + (f"status {done.returncode}" if done.returncode else "")


@pytest.mark.system
@pytest.mark.parametrize("words", [["groff", "-man", "-Tutf8", "-Kutf8", "-ww"], ["man", "--warnings", "-l"]])
def test_groff_finds_no_fault_in_the_pages(folder, words):
    assert said(*words, *sorted(folder.glob("*.[15]"))) == ""


@pytest.mark.system
def test_mandoc_finds_no_fault_in_the_pages(folder):
    done = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", *sorted(folder.glob("*.[15]"))], capture_output=True, text=True, check=False
    )
    assert done.stdout + done.stderr == ""


@pytest.mark.system
def test_the_shells_find_no_fault_in_the_completion(folder):
    assert said("bash", "-n", folder / "recorder.bash") == ""
    assert said("zsh", "-n", folder / "_recorder") == ""


@pytest.mark.system
def test_zsh_knows_every_option_of_a_command(folder):
    functions = " ".join("_" + "_".join(one.path).replace("-", "_") for one in LEAVES)
    told = '_arguments() { print -rl -- "$@" }; source "$0" 2>/dev/null; print'
    script = f"{told}; for f in {functions}; do $f; print; done"
    done = subprocess.run(["zsh", "-fc", script, folder / "_recorder"], capture_output=True, text=True, check=True)
    said = done.stdout.rpartition("\n\n")[0].split("\n\n")
    offered = [{line.partition("[")[0] for line in each.splitlines()} for each in said[-len(LEAVES) :]]
    wanted = [{name for each in one.parameters for name in each.names} for one in LEAVES]
    assert {one.path: a - b for one, a, b in zip(LEAVES, wanted, offered, strict=True) if a - b} == {}
