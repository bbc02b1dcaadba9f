"""What is shipped, under which names, and with which pins."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.lock import pins
from tests.support.needs import need_program

ROOT = Path(__file__).parents[1]
PACKAGES = ("api", "miner", "protocol", "validator")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def requirements() -> list[Requirement]:
    # What only the benchmarks compare with is installed by `make bench`.
    extras = PROJECT["optional-dependencies"].items()
    groups = [PROJECT["dependencies"], *(lines for name, lines in extras if name != "bench")]
    found = [Requirement(line) for group in groups for line in group]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_says_that_its_packages_are_typed(wheel: zipfile.ZipFile, package: str) -> None:
    assert f"{package}/py.typed" in wheel.namelist()


def test_the_wheel_holds_every_tracked_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    command = [str(need_program("git")), "ls-files", *PACKAGES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert set(listed.stdout.splitlines()) - set(wheel.namelist()) == set()


def test_the_wheel_carries_licence_and_notice(wheel: zipfile.ZipFile) -> None:
    names = {Path(name).name for name in wheel.namelist()}

    assert {"LICENSE", "NOTICE"} <= names


@pytest.mark.parametrize("role", ["miner", "validator", "api"])
def test_each_role_has_its_command(role: str) -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name=f"carbonbench-{role}")

    assert script.value == f"{role}.cli:main"
    assert callable(script.load())


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_ships_our_names(package: str) -> None:
    # pip overwrites silently when two distributions ship one name. An editable install of ours
    # is not listed.
    assert set(importlib.metadata.packages_distributions().get(package, [])) <= {"carbonbench"}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_lock_pins_what_the_project_asks_for(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)

    assert name in locked(), "run: make lock"
    assert requirement.specifier.contains(locked()[name])


def test_the_lock_is_what_these_tests_run_on() -> None:
    installed = pins("carbonbench[dev]")
    # CUDA builds of torch bring libraries of their own, which are not pinned.
    unpinned = {name for name in installed if re.match(r"(nvidia-(?!ml-py)|triton|cuda-)", name)}

    assert {name: installed[name] for name in installed.keys() - unpinned} == locked()


def test_an_api_host_is_asked_for_neither_torch_nor_the_chain_sdk() -> None:
    needed = set(pins("carbonbench[api]"))

    assert not needed & {"torch", "transformers", "bittensor", "nvidia-ml-py", "codecarbon"}


@pytest.mark.parametrize("word", ["make demo", "make test"])
def test_the_readme_has_the_two_commands_on_its_first_screen(word: str) -> None:
    first_screen = (ROOT / "README.md").read_text().splitlines()[:40]

    assert word in "\n".join(first_screen)
