"""Images, compose files and units name only what exists: settings, extras, commands, files."""

import importlib
import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no stubs here
from pydantic_settings import BaseSettings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
ROLES = ("miner", "validator", "api")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
UNITS = sorted(DEPLOY.glob("*.service"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def settings_of(role: str) -> type[BaseSettings]:
    found: type[BaseSettings] = importlib.import_module(f"{role}.settings").Settings
    return found


def assert_settings(role: str, given: Mapping[str, str]) -> None:
    """Each variable of a role is one of its settings, and takes the value."""
    prefix = f"{role.upper()}_"
    values = {
        name.removeprefix(prefix).lower(): value
        for name, value in given.items()
        if name.startswith(prefix)
    }
    assert values
    found = settings_of(role).model_validate(values)
    for name, value in values.items():
        assert str(getattr(found, name)) == value


def stage(name: str) -> str:
    """The lines of one stage of the Dockerfile."""
    return next(
        part for part in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
        if part.splitlines()[0].endswith(f" AS {name}")
    )  # fmt: skip


def compose(role: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / f"compose.{role}.yaml").read_text())
    return content


@pytest.mark.parametrize("role", ROLES)
def test_an_image_installs_its_role_and_runs_its_command(role: str) -> None:
    lines = stage(role)

    assert f"'.[{role}]'" in stage(f"install-{role}")
    assert role in PROJECT["optional-dependencies"]
    assert f'ENTRYPOINT ["carbonbench-{role}"]' in lines
    assert f"carbonbench-{role}" in PROJECT["scripts"]
    (verb,) = re.findall(r'^CMD \["(\w+)"\]', lines, re.MULTILINE)
    app = importlib.import_module(f"{role}.cli").app
    assert verb in list(app)


@pytest.mark.parametrize("role", ROLES)
def test_an_image_sets_only_settings_and_its_own_port(role: str) -> None:
    lines = stage(role)
    given = dict(re.findall(rf"({role.upper()}_\w+)=(\S+)", lines))

    assert_settings(role, given)
    port = given[f"{role.upper()}_PORT"]
    assert f"EXPOSE {port}\n" in lines
    assert f"http://127.0.0.1:{port}/healthz" in lines
    assert settings_of(role).model_fields["port"].default == int(port)


def test_the_image_copies_what_is_there_and_nothing_else_reaches_it() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }

    assert names == allowed
    assert all((ROOT / name).exists() for name in names)
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(wheel["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= names


@pytest.mark.parametrize("role", ROLES)
def test_a_compose_file_builds_its_image_and_sets_only_settings(role: str) -> None:
    service = compose(role)["services"][role]

    assert_settings(role, service["environment"])
    build = service["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert build["target"] == role
    assert service["env_file"] == f"../{role}.env"
    assert (ROOT / f"{role}.env.example").exists()
    port = service["environment"][f"{role.upper()}_PORT"]
    assert service["ports"] == [f"{port}:{port}"]
    assert f"ENV {role.upper()}_HOST" in DOCKERFILE


@pytest.mark.parametrize("role", ["miner", "validator"])
def test_only_the_hotkey_is_mounted_where_the_wallet_looks_for_it(role: str) -> None:
    service = compose(role)["services"][role]
    given = {
        name.removeprefix(f"{role.upper()}_WALLET_"): value
        for name, value in service["environment"].items()
    }
    (mount,) = [volume for volume in service["volumes"] if isinstance(volume, dict)]

    assert mount["read_only"]
    assert mount["target"] == f"{given['PATH']}/{given['NAME']}/hotkeys/{given['HOTKEY']}"
    assert not any("wallets" in str(volume) for volume in service["volumes"] if volume != mount)


def test_the_miners_container_gets_its_gpus_and_sees_whose_processes_use_them() -> None:
    service = compose("miner")["services"]["miner"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]

    assert device["driver"] == "nvidia"
    assert set(device["capabilities"]) == {"gpu", "utility", "compute"}
    assert service["pid"] == "host"
    assert f"{service['environment']['MINER_LOCK_DIR']}:/run/lock" in service["volumes"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_sets_only_settings_and_runs_its_command(unit: Path) -> None:
    role = unit.stem.removeprefix("carbonbench-")
    text = unit.read_text()

    assert_settings(role, dict(re.findall(r"^Environment=(\w+)=(.+)$", text, re.MULTILINE)))
    (command,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    program, verb = command.split()
    assert Path(program).name == f"carbonbench-{role}"
    assert verb in list(importlib.import_module(f"{role}.cli").app)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    systemd = shutil.which("systemd-analyze")
    if systemd is None:
        pytest.skip("no systemd on this machine")
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
    copy = tmp_path / unit.name
    copy.write_text(text)

    done = subprocess.run(
        [systemd, "verify", str(copy)], capture_output=True, text=True, check=False
    )

    own = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, own) == (0, [])
