"""What the data are, for machines: schema.org JSON-LD and MLCommons Croissant 1.0."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from api.export_schemas import ExportRow
from api.exports import export_csv
from api.footprint import METHODOLOGY_VERSION
from api.grid.intensity import Period
from api.ranking import Filters
from api.release import ATTRIBUTION, Release
from api.units_of_use import TERM
from protocol.canonical import Json

LICENCES = (
    "https://creativecommons.org/licenses/by/4.0/",
    "https://opendatacommons.org/licenses/odbl/1-0/",
)
NAME = "CarbonBench"
ABOUT = (
    "Carbon, energy, price and speed of language models by provider and place, each figure with "
    "a 95 % interval, its source and what stands behind it."
)
_CROISSANT = "http://mlcommons.org/croissant/"
_MEASURED = (
    ("carbon_g_per_mtok", "gCO2e per 1e6 output tokens"),
    ("energy_wh_per_mtok", "Wh per 1e6 output tokens"),
    ("intensity_g_per_kwh", "gCO2e per kWh"),
    ("pue", "ratio"),
    ("output_usd_per_mtok", "USD per 1e6 output tokens"),
    ("speed_tokens_per_second", "output tokens per second"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON document."""

    content: Mapping[str, Json]

    def encoded(self) -> bytes:
        """As bytes."""
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":")).encode()


def defined_term() -> Document:
    """The CASRAI term that the figures per query and per month are instances of."""
    return Document({"@context": "https://schema.org", **_term()})


def dataset(release: Release, base_url: str) -> Document:
    """The data as a schema.org `Dataset`."""
    files = (
        ("export.csv", "text/csv"),
        ("export.json", "application/json"),
        ("export.parquet", "application/vnd.apache.parquet"),
    )
    return Document(
        {
            "@context": "https://schema.org",
            "@type": "Dataset",
            **_described(release, base_url),
            "about": _term(),
            "isAccessibleForFree": True,
            "measurementTechnique": f"{base_url}/api/v1/methodology",
            "temporalCoverage": _year(release),
            "variableMeasured": [
                {"@type": "PropertyValue", "name": name, "unitText": unit}
                for name, unit in _MEASURED
            ],
            "distribution": [
                {
                    "@type": "DataDownload",
                    "contentUrl": f"{base_url}/api/v1/{name}",
                    "encodingFormat": media_type,
                }
                for name, media_type in files
            ],
        }
    )


def croissant(release: Release, base_url: str, csv_sha256: str) -> Document:
    """The default CSV export as a Croissant dataset."""
    file: Json = {
        "@type": "cr:FileObject",
        "@id": "ranking.csv",
        "name": "ranking.csv",
        "contentUrl": f"{base_url}/api/v1/export.csv",
        "encodingFormat": "text/csv",
        "sha256": csv_sha256,
    }
    records: Json = {
        "@type": "cr:RecordSet",
        "@id": "rows",
        "name": "rows",
        "field": [_field(name) for name in ExportRow.model_fields],
    }
    return Document(
        {
            "@context": _context(),
            "@type": "sc:Dataset",
            "conformsTo": f"{_CROISSANT}1.0",
            **_described(release, base_url),
            "distribution": [file],
            "recordSet": [records],
        }
    )


def file_digest(release: Release) -> bytes:
    """SHA-256 of the default CSV export (hex)."""
    from api.routes import LeaderboardQuery, leaderboard_filters  # noqa: PLC0415 - a cycle else

    filters: Filters = leaderboard_filters(release, LeaderboardQuery())
    return hashlib.sha256(export_csv(release, filters, Period.YEAR)).hexdigest().encode()


def _described(release: Release, base_url: str) -> dict[str, Json]:
    day = release.computed_at.date().isoformat()
    return {
        "name": NAME,
        "description": f"{ABOUT} Attribution: {'; '.join(ATTRIBUTION)}.",
        "url": f"{base_url}/",
        "license": list(LICENCES),
        # Major, minor and patch, as Croissant wants it: method, then the day of the release.
        "version": f"{METHODOLOGY_VERSION}.{release.computed_at:%Y%m%d}+{release.id}",
        "datePublished": day,
        "dateModified": day,
        "creator": {"@type": "Organization", "name": NAME, "url": f"{base_url}/"},
        "citeAs": f"{NAME}, release {release.id}, {base_url}/api/v1/releases/{release.id}",
    }


def _term() -> dict[str, Json]:
    return {
        "@type": "DefinedTerm",
        "@id": TERM,
        "name": "inference carbon footprint",
        "description": "Greenhouse-gas emissions of serving inference requests from a deployed "
        "model, per request (gCO2e per query) or in aggregate (kgCO2e per month).",
        "inDefinedTermSet": "https://casrai.org/dictionary",
        "url": TERM,
    }


def _year(release: Release) -> str:
    years = {row.grid[Period.YEAR].factor.date for row in release.rows}
    return f"{min(years)}/{max(years)}" if years else release.computed_at.date().isoformat()


def _field(name: str) -> dict[str, Json]:
    column = ExportRow.model_fields[name]
    kind = str(column.annotation)
    data_type = "sc:Float" if "float" in kind else "sc:Integer" if "int" in kind else "sc:Text"
    return {
        "@type": "cr:Field",
        "@id": f"rows/{name}",
        "name": name,
        "description": column.description or name.replace("_", " "),
        "dataType": data_type,
        "source": {"fileObject": {"@id": "ranking.csv"}, "extract": {"column": name}},
    }


def _context() -> dict[str, Json]:
    """The context that Croissant 1.0 prescribes."""
    plain = (
        "citeAs column conformsTo equivalentProperty extract field fileProperty fileObject fileSet "
        "format includes isLiveDataset jsonPath key md5 parentField path recordSet references "
        "regex repeated replace samplingRate separator source subField transform"
    )
    context: dict[str, Json] = {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": _CROISSANT,
        "rai": f"{_CROISSANT}RAI/",
        "dct": "http://purl.org/dc/terms/",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
    }
    context |= {name: f"cr:{name}" for name in plain.split()}
    context["conformsTo"] = "dct:conformsTo"
    return context
