"""Rebuild `api/data/offerings.csv`: which provider sells which model where, at what price.

    pip download --no-deps litellm==1.109.1
    python -m scripts.refresh_offerings litellm-1.109.1-*.whl 2026-11-21

The evidence is the price file inside the litellm wheel (MIT). `api/data/model_names.csv` says
which of its names are which of our models; a name that is not there is left out, so a row
never exists by guess. litellm is needed here only, never at run time.
"""

import csv
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

DATA = Path(__file__).parent.parent / "api" / "data"
PRICE_FILE = "litellm/model_prices_and_context_window_backup.json"
PER_MTOK = 1_000_000
FIELDS = (
    "provider", "provider_model", "model", "certainty", "region", "input_usd_per_mtok",
    "output_usd_per_mtok", "deprecation_date", "observed", "source", "licence",
)  # fmt: skip
UNPLACED = {
    "azure_ai": ("azure-openai", "azure_ai/"),
    "together_ai": ("together", "together_ai/"),
    "groq": ("groq", "groq/"),
}


class Place(NamedTuple):
    """Where the price file says that a model is sold."""

    provider: str
    certainty: str
    region: str
    name: str


def main(arguments: list[str]) -> None:
    """Write the table from the wheel and the observation date named on the command line."""
    wheel, observed = arguments
    with zipfile.ZipFile(wheel) as archive:
        prices = json.loads(archive.read(PRICE_FILE), parse_float=Decimal)
    with (DATA / "model_names.csv").open(encoding="utf-8") as handle:
        names = {(r["provider"], r["provider_model"]): r["model"] for r in csv.DictReader(handle)}
    release = Path(wheel).name.split("-")[1]
    found = sorted(offerings(prices, names), key=lambda row: tuple(map(str, row.values())))
    with (DATA / "offerings.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, FIELDS, lineterminator="\n")
        writer.writeheader()
        for row in found:
            writer.writerow(
                row | {"observed": observed, "source": f"litellm {release}", "licence": "MIT"}
            )


def offerings(
    prices: dict[str, dict[str, Any]], names: dict[tuple[str, str], str]
) -> Iterator[dict[str, object]]:
    """One row per provider, model and region; unplaced rows only where no placed one exists."""
    rows: dict[tuple[str, str, str, str], dict[str, object]] = {}
    for key, entry in prices.items():
        if entry.get("mode") not in {"chat", "completion", "responses"}:
            continue
        for place in places(key, entry):
            model = names.get((place.provider, place.name))
            if model:
                identity = (place.provider, model, place.certainty, place.region)
                rows.setdefault(identity, _row(place, model, entry))
    placed = {(p, m) for p, m, certainty, _ in rows if certainty != "undisclosed"}
    for (provider, model, certainty, _), row in rows.items():
        if certainty != "undisclosed" or (provider, model) not in placed:
            yield row


def places(key: str, entry: dict[str, Any]) -> Iterator[Place]:
    """Where one entry of the price file is sold."""
    provider = str(entry.get("litellm_provider"))
    if provider in {"bedrock", "bedrock_converse"}:
        yield from _bedrock(key)
    elif provider == "azure":
        yield from _azure(key.removeprefix("azure/"))
    elif provider.startswith("vertex_ai"):
        yield from _vertex(key.removeprefix("vertex_ai/"), entry.get("supported_regions"))
    elif provider in UNPLACED:
        ours, prefix = UNPLACED[provider]
        yield Place(ours, "undisclosed", "", key.removeprefix(prefix))
    elif provider == "fireworks_ai":
        yield Place("fireworks", "undisclosed", "", key.rsplit("/", 1)[-1])


def _vertex(name: str, regions: list[str] | None) -> Iterator[Place]:
    for region in regions or [""]:
        certainty = {"": "undisclosed", "global": "global"}.get(region, "pinned")
        yield Place("gcp-vertex", certainty, region if certainty == "pinned" else "", name)


def _bedrock(key: str) -> Iterator[Place]:
    in_region = re.fullmatch(r"bedrock/([a-z]+-[a-z]+-\d)/([^/]+)", key)
    profile = re.fullmatch(r"(us|eu|apac|global|au|jp)\.([^/]+)", key)
    if in_region:
        yield Place("aws-bedrock", "pinned", in_region[1], in_region[2])
    elif profile:
        certainty = "global" if profile[1] == "global" else "data_zone"
        region = "" if certainty == "global" else profile[1]
        yield Place("aws-bedrock", certainty, region, profile[2])
    elif "/" not in key:
        yield Place("aws-bedrock", "undisclosed", "", key)


def _azure(key: str) -> Iterator[Place]:
    zone, _, name = key.rpartition("/")
    if zone in {"us", "eu", "apac"}:
        yield Place("azure-openai", "data_zone", zone, name)
    elif zone in {"", "global", "global-standard"}:
        yield Place("azure-openai", "global", "", name)


def _row(place: Place, model: str, entry: dict[str, Any]) -> dict[str, object]:
    return {
        "provider": place.provider,
        "provider_model": place.name,
        "model": model,
        "certainty": place.certainty,
        "region": place.region,
        "input_usd_per_mtok": _per_mtok(entry.get("input_cost_per_token")),
        "output_usd_per_mtok": _per_mtok(entry.get("output_cost_per_token")),
        "deprecation_date": entry.get("deprecation_date", ""),
    }


def _per_mtok(price: Decimal | int | None) -> str:
    """USD per million tokens; empty when the file has none or a zero that is no price."""
    if not price:
        return ""
    return format((Decimal(price) * PER_MTOK).normalize(), "f")


if __name__ == "__main__":
    main(sys.argv[1:])
