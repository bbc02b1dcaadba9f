"""A whole ranking in one file: CSV, JSON, Parquet, and the figures that a release is frozen with.

Rankings are produced works of their sources and need their attribution. Rows whose grid value
rests on readings that may not be passed on in bulk are left out and counted.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal

from api.export_schemas import Export, ExportRow
from api.footprint import METHODOLOGY_VERSION, rounded
from api.grid.intensity import Period
from api.offerings import Row
from api.ranking import Filters, Ranked, Sort, ranked
from api.release import ATTRIBUTION, Release

CSV_FIELDS = tuple(ExportRow.model_fields)
LICENCE = "CC-BY-4.0 AND ODbL-1.0"
"""Of the exported figures: our own under the first, grid levels under the second."""
_MONEY = ("input_usd_per_mtok", "output_usd_per_mtok", "blended_usd_per_mtok")
_MONEY_DIGITS = (24, 12)
"""Precision and scale of a price in Parquet."""
_INTEGERS = frozenset({"rank", "rank_low", "rank_high"})
Line = dict[str, float | str | int | None]


def export_csv(
    release: Release, filters: Filters, period: Period, sort: Sort = Sort.CARBON
) -> bytes:
    """A whole ranking as CSV, one line a row."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_FIELDS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(_lines(release, filters, period, sort)[0])
    return out.getvalue().encode()


def export_json(
    release: Release, filters: Filters, period: Period, sort: Sort = Sort.CARBON
) -> bytes:
    """A whole ranking as JSON, with what every answer says about itself."""
    lines, withheld = _lines(release, filters, period, sort)
    head = Export(rows=[], withheld=withheld, licence=LICENCE, meta=release.meta())
    rows = json.dumps(lines, separators=(",", ":"), ensure_ascii=False).encode()
    return head.model_dump_json().encode().replace(b'"rows":[]', b'"rows":%b' % rows, 1)


def export_parquet(
    release: Release, filters: Filters, period: Period, sort: Sort = Sort.CARBON
) -> bytes:
    """A whole ranking as Parquet, sources and licence in the file's metadata."""
    import pyarrow as pa  # noqa: PLC0415 - heavy, and only this needs it
    from pyarrow import parquet  # noqa: PLC0415 - as above

    lines, withheld = _lines(release, filters, period, sort)
    columns = {}
    for name, kind in _column_types().items():
        values = [line[name] for line in lines]
        if kind is Decimal:
            money = [None if value is None else Decimal(str(value)) for value in values]
            columns[name] = pa.array(money, pa.decimal128(*_MONEY_DIGITS))
        else:
            types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
            columns[name] = pa.array(values, types[kind])
    notes = {
        "release": release.id,
        "licence": LICENCE,
        "attribution": "; ".join(ATTRIBUTION),
        "withheld_rows": str(withheld),
        "methodology": METHODOLOGY_VERSION,
    }
    table = pa.table(columns).replace_schema_metadata(notes)
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def export_rows(release: Release) -> Iterator[Line]:
    """All rows over the newest year, by id and without ranks: what a release is frozen with."""
    for row in sorted(release.rows, key=lambda row: row.id):
        yield _line(row, None, Period.YEAR)


def _lines(
    release: Release, filters: Filters, period: Period, sort: Sort
) -> tuple[list[Line], int]:
    rows = [row for row in release.rows if filters.admits(row)]
    order: Sequence[Ranked] = ranked(rows, sort=sort, period=period)
    open_ones = [item for item in order if item.row.grid[period].is_redistributable]
    lines = [
        {
            **_line(item.row, item.rank, period),
            "release": release.id,
            "rank_low": item.rank_low,
            "rank_high": item.rank_high,
            **_grounds(item.row, period),
        }
        for item in open_ones
    ]
    return lines, len(order) - len(open_ones)


def _line(row: Row, rank: int | None, period: Period) -> Line:
    carbon, energy, grid = row.carbon[period], row.energy.estimate, row.grid[period]
    price = row.price
    return {
        "id": row.id,
        "rank": rank,
        "model": row.model.id,
        "family": row.model.family,
        "provider": row.provider.id,
        "access": row.access.value,
        "place": row.place_name,
        "region": row.region,
        "certainty": row.certainty.value,
        "regime": row.regime.value,
        "status": row.status.value,
        "period": period.value,
        "carbon_g_per_mtok": rounded(carbon.total.value),
        "carbon_low": rounded(carbon.total.low),
        "carbon_high": rounded(carbon.total.high),
        "energy_wh_per_mtok": rounded(energy.value),
        "energy_low": rounded(energy.low),
        "energy_high": rounded(energy.high),
        "pue": rounded(row.pue.estimate.value),
        "intensity_g_per_kwh": rounded(grid.factor.estimate.value),
        "tier": grid.tier.value,
        "embodied_g_per_mtok": _maybe(carbon.embodied_g),
        "input_usd_per_mtok": _money(price.input_usd_per_mtok if price else None),
        "output_usd_per_mtok": _money(price.output_usd_per_mtok if price else None),
        "price_observed": price.observed.isoformat() if price else None,
        "speed_tokens_per_second": _maybe(row.figure.speed_tokens_per_second),
        "method": row.figure.method,
        "hardware": row.figure.hardware,
        "batch": rounded(row.figure.batch),
        "energy_source": row.energy.source,
        "energy_date": row.energy.date,
        "grid_source": grid.factor.source,
        "grid_date": grid.factor.date,
        "evidence": row.figure.evidence,
        "methodology": METHODOLOGY_VERSION,
        "release": "",
    }


def _grounds(row: Row, period: Period) -> Line:
    """What stands behind each factor of a row, and how far it may be off."""
    pue, grid, embodied = row.pue, row.grid[period], row.figure.embodied
    intensity, price = grid.factor, row.price
    return {
        "energy_licence": row.energy.licence,
        "pue_low": rounded(pue.estimate.low),
        "pue_high": rounded(pue.estimate.high),
        "pue_status": pue.status.value,
        "pue_source": pue.source,
        "pue_date": pue.date,
        "zone": grid.zone,
        "intensity_low": rounded(intensity.estimate.low),
        "intensity_high": rounded(intensity.estimate.high),
        "grid_status": intensity.status.value,
        "grid_licence": intensity.licence,
        "embodied_low": rounded(embodied.estimate.low) if embodied else None,
        "embodied_high": rounded(embodied.estimate.high) if embodied else None,
        "embodied_status": embodied.status.value if embodied else None,
        "embodied_source": embodied.source if embodied else None,
        "embodied_date": embodied.date if embodied else None,
        "blended_usd_per_mtok": _money(price.blended_usd_per_mtok if price else None),
        "price_source": price.source if price else None,
    }


def _column_types() -> dict[str, type]:
    kinds: dict[str, type] = {}
    for name, field in ExportRow.model_fields.items():
        if name in _MONEY:
            kinds[name] = Decimal
        elif name in _INTEGERS:
            kinds[name] = int
        else:
            kinds[name] = float if "float" in str(field.annotation) else str
    return kinds


def _money(value: Decimal | None) -> str | None:
    return None if value is None else format(value.normalize(), "f")


def _maybe(value: float | None) -> float | None:
    return None if value is None else rounded(value)
