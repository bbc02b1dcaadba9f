"""What an operator can set, and how mistakes in it are told."""

from pathlib import Path

import pytest

from miner.settings import Settings, announced_axon
from protocol.chain import Axon
from protocol.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `miner.env` of the checkout."""
    monkeypatch.chdir(tmp_path)


def test_the_command_line_wins_over_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "miner.env").write_text("MINER_PORT=1\nMINER_HOST=127.0.0.1\nMINER_THREADS=3\n")
    monkeypatch.setenv("MINER_PORT", "2")
    monkeypatch.setenv("MINER_THREADS", "4")

    settings = Settings.load({"port": 5, "netuid": None})

    assert (settings.port, settings.threads, settings.host) == (5, 4, "127.0.0.1")


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINER_MODELS", "smollm2-135m, /models/other")
    monkeypatch.setenv("MINER_GPUS", "0,2")

    settings = Settings.load({})

    assert settings.models == ("smollm2-135m", "/models/other")
    assert settings.gpus == (0, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MINER_PORT", "99999"), ("MINER_NETWORK", "moon"), ("MINER_GPUS", "first")],
)
def test_a_value_that_is_not_allowed_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=name) as refusal:
        Settings.load({})

    assert "miner.env.example" in refusal.value.hint


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "miner.env").write_text("MINER_PROT=1\n")

    with pytest.raises(ConfigurationError, match="MINER_PROT"):
        Settings.load({})


def test_an_unknown_variable_of_the_environment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINER_PROT", "1")
    monkeypatch.setenv("MINER_PORT", "1")

    assert Settings.unknown_variables() == ("MINER_PROT",)


def test_the_example_file_is_the_settings() -> None:
    assert (ROOT / "miner.env.example").read_text() == Settings.example_file()


def test_the_example_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "miner.env").write_text(Settings.example_file())

    assert Settings.load({}) == Settings()


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_subnet_is_the_operators_or_the_networks() -> None:
    assert Settings.load({"network": "devnet"}).subnet() == 2
    assert Settings.load({"network": "test", "netuid": 7}).subnet() == 7
    with pytest.raises(ConfigurationError, match="no subnet"):
        Settings.load({"network": "test"}).subnet()


def test_the_axon_is_the_address_that_validators_can_call() -> None:
    named = Settings.load({"network": "test", "axon_ip": "8.8.8.8", "axon_port": 443})
    local = Settings.load({"network": "devnet", "host": "127.0.0.1"})

    assert announced_axon(named, 8091) == Axon(ip="8.8.8.8", port=443)
    assert announced_axon(local, 8091) == Axon(ip="127.0.0.1", port=8091)


@pytest.mark.parametrize("host", ["::", "127.0.0.1", "10.0.0.1", "example.com"])
def test_an_address_that_nobody_can_call_is_not_announced(host: str) -> None:
    settings = Settings.load({"network": "test", "host": host})

    with pytest.raises(ConfigurationError, match="cannot call") as refusal:
        announced_axon(settings, 8091)

    assert "MINER_AXON_IP" in refusal.value.hint
