"""The rows calculated by hand in the methodology equal the API's, to the last digit shown."""

import re
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from api.footprint import rounded

PAGE = Path(__file__).parents[2] / "docs" / "methodology.md"
LINE = re.compile(
    r"^\| `([\w.-]+)` \| `([\w-]+)` \| `([\w-]+)` \| (served|single) \| ([\d.]+) (J|Wh) "
    r"\| (\S+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$",
    re.MULTILINE,
)


class Hand(NamedTuple):
    """A row of the page."""

    model: str
    provider: str
    place: str
    regime: str
    energy: str
    unit: str
    gpus: str
    speed: str
    pue: str
    grid: str
    embodied: str
    carbon: str

    @property
    def wh_per_1k_tokens(self) -> float:
        return float(self.energy) / (3.6 if self.unit == "J" else 10)

    @property
    def embodied_g(self) -> float:
        if self.unit == "Wh":
            return 0.0
        return 985_500 * int(self.gpus) / float(self.speed) * 1e6 / 94_608_000

    @property
    def carbon_g(self) -> float:
        per_1k = self.wh_per_1k_tokens * float(self.pue) * float(self.grid) / 1_000
        return per_1k * 1_000 + self.embodied_g


ROWS = [Hand(*found) for found in LINE.findall(PAGE.read_text())]


def test_there_are_ten_rows_of_two_regimes_and_two_kinds_of_provider() -> None:
    assert len(ROWS) == 10
    assert {row.regime for row in ROWS} == {"served", "single"}
    assert {row.provider for row in ROWS} == {"self-hosted", "aws-bedrock"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[:4]))
async def test_a_row_by_hand_is_the_apis_factor_by_factor(
    client: httpx.AsyncClient, row: Hand
) -> None:
    asked = {name: getattr(row, name) for name in ("model", "provider", "place", "regime")}
    answer = (await client.get("/api/v1/leaderboard", params=asked)).json()
    (shown,) = [each for each in answer["rows"] if each["place"]["id"] == row.place]
    factors = shown["factors"]

    assert factors["energy"]["value"] == rounded(row.wh_per_1k_tokens * 1_000)
    assert factors["pue"]["value"] == float(row.pue)
    assert factors["grid"]["value"] == float(row.grid)
    if row.embodied == "-":
        assert factors["embodied"] is None
    else:
        assert factors["embodied"]["value"] == float(row.embodied) == rounded(row.embodied_g)
    assert shown["carbon"]["value"] == float(row.carbon) == rounded(row.carbon_g)
