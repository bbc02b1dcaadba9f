"""Settings: from the environment, strictly, and without secrets in sight."""

from pathlib import Path

import pytest

from protocol.errors import ConfigurationError
from validator.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_network_decides_what_is_not_set() -> None:
    settings = Settings.load({"network": "devnet"})

    assert settings.chain_endpoint == settings.profile.endpoint
    assert settings.subnet() == settings.profile.netuid
    assert settings.database is None


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALIDATOR_PORT", "1")
    monkeypatch.setenv("VALIDATOR_MODELS", "one, two")

    settings = Settings.load({"port": 2, "host": None})

    assert settings.port == 2
    assert settings.models == ("one", "two")


@pytest.mark.parametrize("name", ["DATABASE_URL", "VALIDATOR_DATABASE_URL"])
def test_the_databases_password_is_not_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "postgresql://user:secret@host/name")

    settings = Settings.load({})

    assert settings.database == "postgresql://user:secret@host/name"
    assert "secret" not in repr(settings)
    assert "secret" not in str(settings.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "x"), ("NETWORK", "mainnet"), ("MAX_PARALLEL_MINERS", "0")]
)
def test_a_wrong_value_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"VALIDATOR_{name}", value)

    with pytest.raises(ConfigurationError, match=f"VALIDATOR_{name}"):
        Settings.load({})


def test_a_typing_error_in_the_file_is_refused_and_one_in_the_environment_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALIDATOR_PROT", "8092")
    assert Settings.unknown_variables() == ("VALIDATOR_PROT",)

    (tmp_path / "validator.env").write_text("VALIDATOR_PROT=8092\n")
    with pytest.raises(ConfigurationError):
        Settings.load({})


def test_a_network_without_a_subnet_asks_for_one() -> None:
    with pytest.raises(ConfigurationError, match="no subnet") as caught:
        Settings.load({"network": "test"}).subnet()

    assert "--netuid" in caught.value.hint


def test_the_example_file_is_the_settings_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "validator.env").write_text(Settings.example_file())

    assert (ROOT / "validator.env.example").read_text() == Settings.example_file()
    assert Settings.load({}) == Settings()
