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


@pytest.mark.parametrize("one", EVERY, ids=lambda each: each.page)
def test_a_page_explains_every_option_and_argument(one):
    page = manual.command_page(one)
    for parameter in one.parameters:
        assert parameter.text, f"{parameter.words} has no help"
        assert f"\\fB{manual.escaped(parameter.words)}\\fR\n{manual.escaped(parameter.text)}\n" in page
    for example in one.examples:
        assert manual.escaped(example) in page


def test_the_configuration_page_has_every_setting_and_default():
    page = manual.configuration_page()
    for name, kind in {**SECTIONS, **manual.TABLES}.items():
        assert f"{name}]" in page
        assert all(f"\n\\fB{item.name}\\fR\n" in page for item in fields(kind))
    assert 'Default: "/var/lib/recorder"' in page


def test_a_line_cannot_become_a_roff_request():
    assert manual.escaped(".so /etc/passwd") == "\\&.so /etc/passwd"
    assert manual.escaped("'x' \\fB") == "\\(aqx\\(aq \\efB"


def completed(folder, *words):
    """Return what bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    script = (
        f'source "$0"; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _recorder; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", script, folder / "recorder.bash"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize("one", EVERY, ids=lambda each: each.page)
def test_bash_offers_every_command_and_option(folder, one):
    options = {name for parameter in one.parameters for name in parameter.names if name.startswith("--")}
    assert completed(folder, *one.path, "-") == options
    assert completed(folder, *one.path, "") == options | {each.path[-1] for each in one.commands}


def test_bash_offers_files_only_where_a_path_is_wanted(folder):
    assert "recorder.bash" in completed(folder, "recorder", "serve", "--config", "rec")
    assert completed(folder, "recorder", "token", "create", "--customer", "") == set()
    assert completed(folder, "recorderctl", "token", "re") == {"revoke"}


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
@pytest.mark.parametrize("one", LEAVES, ids=lambda each: each.page)
def test_zsh_knows_every_option_of_a_command(folder, one):
    function = "_" + "_".join(one.path).replace("-", "_")
    script = f'_arguments() {{ print -rl -- "$@" }}; source "$0" 2>/dev/null; {function}'
    done = subprocess.run(["zsh", "-fc", script, folder / "_recorder"], capture_output=True, text=True, check=True)
    offered = {line.partition("[")[0] for line in done.stdout.splitlines()}
    assert {name for parameter in one.parameters for name in parameter.names} <= offered
