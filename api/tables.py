"""Reads the tables under `api/data` into a `Catalogue`; the only reader of those files."""

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from api.catalogue import (
    Access,
    Catalogue,
    Certainty,
    ErrorTable,
    Evidence,
    ForecastError,
    GridLevel,
    GridShape,
    Method,
    Model,
    ModelSlug,
    Place,
    PlaceId,
    Provider,
    ProviderId,
    PueRecord,
    Region,
    ServedPoint,
    SingleRecord,
    ZoneId,
)
from protocol.errors import ConfigurationError

DATA = Path(__file__).parent / "data"
T = TypeVar("T")
Line = Mapping[str, str]

_YEARLY = ("y0", "yc", "ys")
_DAILY = ("d0", "dc1", "ds1", "dc2", "ds2")


def load_catalogue(folder: Path = DATA) -> Catalogue:
    """All tables.

    Raises:
        ConfigurationError: If a table is missing or a line of it cannot be read.
    """
    models = {model.id: model for model in _read(folder / "models.csv", _model)}
    providers = {item.id: item for item in _read(folder / "providers.csv", _provider)}
    places = {place.id: place for place in _read(folder / "places.csv", _place)}
    shapes = {shape.zone: shape for shape in _read(folder / "odbl" / "grid_shape.csv", _shape)}
    return Catalogue(
        models=models,
        providers=providers,
        places=places,
        regions=tuple(_read(folder / "regions.csv", _region)),
        pue=tuple(_read(folder / "pue.csv", _pue)),
        evidence=tuple(_read(folder / "offerings.csv", _evidence)),
        served=tuple(_read(folder / "energy_served.csv", _served)),
        single=tuple(_read(folder / "energy_single.csv", _single)),
        zone_levels=tuple(_read(folder / "odbl" / "grid_annual.csv", _zone_level)),
        country_levels=tuple(_read(folder / "grid_country.csv", _country_level)),
        shapes=shapes,
        errors=_errors(folder / "odbl" / "grid_errors.csv"),
        content_digest=_content_digest(folder),
    )


def with_fitted_shapes(catalogue: Catalogue, path: Path) -> Catalogue:
    """The catalogue with the curves and errors of this node's own history, where it has them.

    Args:
        catalogue: The packaged tables.
        path: File of fitted curves; measured errors lie beside it.
    """
    measured = errors_path(path)
    own = [file for file in (path, measured) if file.exists()]
    if not own:
        return catalogue
    shapes = {shape.zone: shape for shape in _read(path, _shape)} if path in own else {}
    errors = _errors(measured) if measured in own else {}
    seen = hashlib.sha256(catalogue.content_digest.encode())
    for file in own:
        seen.update(file.read_bytes())
    return replace(
        catalogue,
        shapes={**catalogue.shapes, **shapes},
        errors={**catalogue.errors, **errors},
        content_digest=seen.hexdigest(),
    )


def errors_path(shapes: Path) -> Path:
    """Where the measured errors lie that belong to a file of fitted curves."""
    return shapes.with_name("grid_errors.csv")


def write_errors(errors: Iterable[ForecastError], path: Path) -> None:
    """Write measured errors in the form that `with_fitted_shapes` reads."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["zone", "method", "mae_relative", "hours", "source", "licence"])
        for error in errors:
            value = f"{error.mean_absolute_error:.6g}"
            row = (error.zone, error.method, value, error.hours, error.source, error.licence)
            writer.writerow(row)


def write_shapes(shapes: Iterable[GridShape], path: Path) -> None:
    """Write curves in the form that `with_fitted_shapes` reads."""
    names = [f"{y}_{d}" for y in _YEARLY for d in _DAILY]
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["zone", *names, "mae_relative", "source", "licence"])
        for shape in shapes:
            values = [f"{value:.6g}" for value in shape.coefficients]
            error = f"{shape.mean_absolute_error:.6g}"
            writer.writerow([shape.zone, *values, error, shape.source, shape.licence])


def _content_digest(folder: Path) -> str:
    hashed = hashlib.sha256()
    for path in sorted(folder.rglob("*.csv")):
        hashed.update(path.name.encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()


def _read(path: Path, build: Callable[[Line], T]) -> Iterator[T]:
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            for number, line in enumerate(csv.DictReader(handle), start=2):
                yield _built(path, number, line, build)
    except OSError as fault:
        hint = "Reinstall the package: its data files are incomplete."
        raise ConfigurationError(f"cannot read {path}: {fault.strerror}", hint=hint) from fault


def _built(path: Path, number: int, line: Line, build: Callable[[Line], T]) -> T:
    try:
        return build(line)
    except (KeyError, ValueError, ArithmeticError) as fault:
        detail = f"{path}, line {number}: {type(fault).__name__}: {fault}"
        raise ConfigurationError(detail, hint="Run the refresh script of this table.") from fault


def _number(text: str) -> float | None:
    return float(text) if text else None


def _money(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def _model(line: Line) -> Model:
    return Model(
        id=ModelSlug(line["id"]),
        name=line["name"],
        family=line["family"],
        vendor=line["vendor"],
        is_open=line["weights"] == "open",
        total_low_b=_number(line["total_low_b"]),
        total_high_b=_number(line["total_high_b"]),
        active_low_b=_number(line["active_low_b"]),
        active_high_b=_number(line["active_high_b"]),
        parameters_source=line["parameters_source"],
        repositories=tuple(line["repositories"].split()),
    )


def _provider(line: Line) -> Provider:
    return Provider(
        id=ProviderId(line["id"]),
        name=line["name"],
        access=Access(line["access"]),
        accelerator=line["accelerator"],
        areas=tuple(line["areas"].split()),
        energy_note=line["energy_note"],
        location_note=line["location_note"],
        source=line["source"],
    )


def _place(line: Line) -> Place:
    alternative = line["alternative_zone"]
    return Place(
        id=PlaceId(line["id"]),
        name=line["name"],
        area=line["area"],
        country=line["country"],
        zone=ZoneId(line["zone"]),
        alternative_zone=ZoneId(alternative) if alternative else None,
        tabulated=line["tabulated"] == "yes",
        source=line["source"],
    )


def _region(line: Line) -> Region:
    return Region(
        provider=ProviderId(line["provider"]), name=line["region"], place=PlaceId(line["place"])
    )


def _pue(line: Line) -> PueRecord:
    return PueRecord(
        provider=ProviderId(line["provider"]),
        region=line["region"],
        year=int(line["year"]),
        pue=float(line["pue"]),
        source=line["source"],
        licence=line["licence"],
    )


def _evidence(line: Line) -> Evidence:
    deprecation = line["deprecation_date"]
    return Evidence(
        provider=ProviderId(line["provider"]),
        provider_model=line["provider_model"],
        model=ModelSlug(line["model"]),
        certainty=Certainty(line["certainty"]),
        region=line["region"],
        input_usd_per_mtok=_money(line["input_usd_per_mtok"]),
        output_usd_per_mtok=_money(line["output_usd_per_mtok"]),
        deprecation_date=date.fromisoformat(deprecation) if deprecation else None,
        observed=date.fromisoformat(line["observed"]),
        source=line["source"],
        licence=line["licence"],
    )


def _served(line: Line) -> ServedPoint:
    return ServedPoint(
        model=ModelSlug(line["model"]),
        repository=line["repository"],
        task=line["task"],
        method=line["method"],
        published=line["published"],
        gpu=line["gpu"],
        gpu_count=int(line["gpu_count"]),
        precision=line["precision"],
        engine=line["engine"],
        batch=float(line["batch"]),
        energy_j_per_output_token=float(line["energy_j_per_output_token"]),
        output_tokens_per_second=float(line["output_tokens_per_second"]),
        inter_token_ms=_number(line["inter_token_ms"]),
        source=line["source"],
        licence=line["licence"],
    )


def _single(line: Line) -> SingleRecord:
    tokens = line["output_tokens_per_query"]
    return SingleRecord(
        model=ModelSlug(line["model"]),
        repository=line["repository"],
        task=line["task"],
        reasoning_effort=line["reasoning_effort"],
        method=line["method"],
        published=line["published"],
        gpu=line["gpu"],
        energy_wh_per_1k_queries=float(line["energy_wh_per_1k_queries"]),
        output_tokens_per_query=int(tokens) if tokens else None,
        source=line["source"],
        licence=line["licence"],
    )


def _errors(path: Path) -> ErrorTable:
    return {(error.zone, error.method): error for error in _read(path, _error)}


def _error(line: Line) -> ForecastError:
    return ForecastError(
        zone=ZoneId(line["zone"]),
        method=Method(line["method"]),
        mean_absolute_error=float(line["mae_relative"]),
        hours=int(line["hours"]),
        source=line["source"],
        licence=line["licence"],
    )


def _zone_level(line: Line) -> GridLevel:
    return _level(line, line["zone"])


def _country_level(line: Line) -> GridLevel:
    return _level(line, line["country"])


def _level(line: Line, area: str) -> GridLevel:
    return GridLevel(
        area=area,
        year=int(line["year"]),
        intensity_g_per_kwh=float(line["intensity_g_per_kwh"]),
        basis=line["basis"],
        accounting=line["accounting"],
        source=line["source"],
        licence=line["licence"],
    )


def _shape(line: Line) -> GridShape:
    return GridShape(
        zone=ZoneId(line["zone"]),
        coefficients=tuple(float(line[f"{y}_{d}"]) for y in _YEARLY for d in _DAILY),
        mean_absolute_error=float(line["mae_relative"]),
        source=line["source"],
        licence=line["licence"],
    )
