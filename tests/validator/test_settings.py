"""Settings: from the environment, strictly, and without secrets in sight."""

from pathlib import Path

import pytest

from protocol.errors import ConfigurationError
from validator.settings import load_settings, subnet_of, unknown_variables


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_network_decides_what_is_not_set() -> None:
    settings = load_settings({"network": "devnet"})

    assert settings.chain_endpoint == settings.profile.endpoint
    assert subnet_of(settings) == settings.profile.netuid
    assert settings.database is None


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALIDATOR_PORT", "1")
    monkeypatch.setenv("VALIDATOR_MODELS", "one, two")

    settings = load_settings({"port": 2, "host": None})

    assert settings.port == 2
    assert settings.models == ("one", "two")


@pytest.mark.parametrize("name", ["DATABASE_URL", "VALIDATOR_DATABASE_URL"])
def test_the_databases_password_is_not_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "postgresql://user:secret@host/name")

    settings = load_settings({})

    assert settings.database == "postgresql://user:secret@host/name"
    assert "secret" not in repr(settings)
    assert "secret" not in str(settings.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "x"), ("NETWORK", "mainnet"), ("MAX_PARALLEL_MINERS", "0")]
)
def test_a_wrong_value_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"VALIDATOR_{name}", value)

    with pytest.raises(ConfigurationError, match=f"VALIDATOR_{name}"):
        load_settings({})


def test_a_typing_error_in_the_file_is_refused_and_one_in_the_environment_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALIDATOR_PROT", "8092")
    assert unknown_variables() == ("VALIDATOR_PROT",)

    (tmp_path / "validator.env").write_text("VALIDATOR_PROT=8092\n")
    with pytest.raises(ConfigurationError):
        load_settings({})


def test_a_network_without_a_subnet_asks_for_one() -> None:
    with pytest.raises(ConfigurationError, match="no subnet") as caught:
        subnet_of(load_settings({"network": "test"}))

    assert "--netuid" in caught.value.hint
