"""The rows calculated by hand in the methodology equal the API's, to the last digit shown."""

import re
from pathlib import Path

import pytest

from api.catalogue import Access
from api.footprint import rounded
from api.grid.intensity import Period
from api.release import Release

PAGE = Path(__file__).parents[2] / "docs" / "methodology.md"
LINE = re.compile(
    r"^\| `([\w.-]+)` \| `([\w-]+)` \| (\w+) \| ([\d.]+) (J|Wh) \| (\S+) \| (\S+) \| (\S+) \| "
    r"(\S+) \| (\S+) \|$",
    re.MULTILINE,
)
ROWS = LINE.findall(PAGE.read_text())


def test_there_are_ten_rows() -> None:
    assert len(ROWS) == 10


@pytest.mark.parametrize("line", ROWS, ids=lambda line: "-".join(line[:3]))
def test_a_row_by_hand_is_the_apis(release: Release, line: tuple[str, ...]) -> None:
    model, place, regime, energy, unit, gpus, speed, grid, embodied, carbon = line
    (row,) = [
        row
        for row in release.rows
        if (row.model.id, row.region, row.regime, row.access)
        == (model, place, regime, Access.SELF_HOSTED)
    ]
    if unit == "J":
        operational = float(energy) / 3.6 * 1.25 * float(grid)
        making = 985_500 * int(gpus) / float(speed) * 1e6 / 94_608_000
        assert rounded(making) == float(embodied)
    else:
        operational = float(energy) / 10_000 * 1.25 * float(grid) * 1e3
        making = 0.0

    found = row.carbon[Period.YEAR].total.value

    assert rounded(operational + making) == float(carbon) == rounded(found)
