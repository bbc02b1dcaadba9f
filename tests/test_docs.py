"""The documents name only what exists, and all that an operator can set."""

import functools
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NewType

import pytest

from protocol import ids, units
from protocol.errors import RejectionCode
from tests.support.needs import need_program

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ROLES = ("miner", "validator", "api")
GLOSSARY = ROOT / "docs" / "glossary.md"

_CODE_BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_FLAG = re.compile(r"^--[a-z][a-z0-9-]*")
# Split, so that this file does not find itself.
_MACHINE_PATHS = tuple(
    "/" + rest for rest in ("work/main", "work/shared", "work/.library", "root/", "tmp/cb")
)
_REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs"),
        ("deb", "debian", "org"),
        ("download", "pytorch", "org"),
    )
)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each command in a page's shell blocks and code spans."""
    blocks = "\n".join(_CODE_BLOCK.findall(text)).replace("\\\n", " ")
    # A span with a placeholder such as `make bench ONLY=...` is a command all the same.
    spans = [span for span in _SPAN.findall(text) if re.match(r"(make|carbonbench-)", span)]
    for line in [*blocks.splitlines(), *spans]:
        for part in re.split(r"\s(?:&&|\|\||\||;)\s", line.strip().removeprefix("$ ")):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # an apostrophe in an example's prose
                continue
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield words


def commands_of(page: Path, program: re.Pattern[str]) -> list[list[str]]:
    found = command_lines(page.read_text())
    return [words for words in found if program.fullmatch(words[0].removeprefix(".venv/bin/"))]


@functools.cache
def help_of(role: str, verbs: tuple[str, ...]) -> str:
    """What a command says about itself; empty when there is no such command."""
    command = [sys.executable, "-m", f"{role}.cli", *verbs, "--help"]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else ""


def tracked_texts() -> Iterator[tuple[Path, str]]:
    command = [str(need_program("git")), "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file():
            try:
                yield path, path.read_text()
            except UnicodeDecodeError:
                continue


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text()) if "://" not in target]

    missing = [target for target in targets if not (page.parent / target).exists()]

    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    for words in commands_of(page, re.compile("make")):
        named = {word for word in words[1:] if re.fullmatch(r"[a-z]+", word)}
        assert named <= targets, f"no such target: {named - targets}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_modules_that_are_run_exist(page: Path) -> None:
    own = re.compile(r"python3? -m ((?:scripts|miner|validator|api|tests)[\w.]*)")

    for module in own.findall(page.read_text()):
        assert importlib.util.find_spec(module), f"no module {module}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_and_flags_exist(page: Path) -> None:
    for words in commands_of(page, re.compile(r"carbonbench-(miner|validator|api)")):
        role = words[0].removeprefix(".venv/bin/").removeprefix("carbonbench-")
        verbs = tuple(word for word in words[1:3] if re.fullmatch(r"[a-z][a-z-]*", word))
        said = help_of(role, verbs) or help_of(role, verbs[:1])
        assert said, f"carbonbench-{role} {verbs} does not exist"
        own_words = words[: words.index("--")] if "--" in words else words
        for flag in (match[0] for word in own_words if (match := _FLAG.match(word))):
            assert flag in said or flag == "--help", f"{words[:2]} has no {flag}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_settings_that_are_named_exist(page: Path) -> None:
    text = page.read_text()

    for role in ROLES:
        known = {f"{role}_{field}".upper() for field in settings_fields(role)}
        named = set(re.findall(rf"\b{role.upper()}_[A-Z][A-Z0-9_]*[A-Z0-9]\b", text))
        assert named <= known, f"no such setting: {named - known}"


@pytest.mark.parametrize("role", ROLES)
def test_the_example_file_names_every_setting_and_no_other(role: str) -> None:
    example = (ROOT / f"{role}.env.example").read_text()

    named = set(re.findall(rf"^#?\s?({role.upper()}_[A-Z0-9_]+)=", example, re.MULTILINE))

    assert named == {f"{role}_{field}".upper() for field in settings_fields(role)}


def settings_fields(role: str) -> list[str]:
    return list(importlib.import_module(f"{role}.settings").Settings.model_fields)


@pytest.mark.parametrize("module", [units, ids])
def test_the_glossary_names_every_type_of_a_quantity_or_name(module: object) -> None:
    text = GLOSSARY.read_text()

    missing = [
        name
        for name, value in vars(module).items()
        if isinstance(value, NewType) and f"`{name}`" not in text
    ]

    assert not missing


def test_the_units_of_the_glossary_exist() -> None:
    section = GLOSSARY.read_text().partition("## Units")[2].partition("## ")[0]
    named = re.findall(r"^\|[^|]+\| `(\w+)` \|", section, re.MULTILINE)

    assert len(named) > 10
    assert all(isinstance(getattr(units, name, None), NewType) for name in named)


def test_the_glossary_explains_every_rejection_code_and_no_other() -> None:
    section = GLOSSARY.read_text().partition("## Rejection codes")[2]

    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [
        code.value for code in RejectionCode
    ]


def test_decisions_are_numbered_without_a_gap() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))

    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert page.read_text().startswith(f"# {int(page.name[:4])}. ")


def test_no_file_names_a_place_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {place}"
        for path, text in tracked_texts()
        for place in _MACHINE_PATHS
        if place in text
    ]

    assert not found


def test_no_file_names_the_host_of_a_package_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {host}"
        for path, text in tracked_texts()
        for host in _REGISTRY_HOSTS
        if host in text
    ]

    assert not found
