"""Names that filters may hold: an unknown one is refused with what may have been meant."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches

from api.problems import ProblemError
from api.ranking import Filters
from api.release import Release

SUGGESTED = 5


def refuse_unknown(release: Release, filters: Filters) -> None:
    """Refuse names of families, providers and places that nothing has.

    Raises:
        ProblemError: 404 that names the first unknown one, with suggestions.
    """
    if filters.families:
        _refuse(release, "family", filters.families, _families, "/api/v1/models")
    if filters.providers:
        _refuse(release, "provider", filters.providers, _providers, "/api/v1/providers")
    if filters.places:
        _refuse(release, "place", filters.places, _places, "/api/v1/regions")


def _refuse(
    release: Release,
    parameter: str,
    asked: frozenset[str],
    names: Callable[[Release], Iterator[str]],
    where: str,
) -> None:
    known = release.once(("known", parameter), lambda: frozenset(names(release)) - {""})
    if asked <= known:
        return
    name = min(asked - known)
    raise ProblemError(
        404,
        f"unknown_{parameter}",
        f"no {parameter} is named {name!r}",
        hint=f"See {where}.",
        suggestions=get_close_matches(name, sorted(known), n=SUGGESTED, cutoff=0.5),
    )


def _families(release: Release) -> Iterator[str]:
    return (model.family.lower() for model in release.models.values())


def _providers(release: Release) -> Iterator[str]:
    return iter(release.catalogue.providers)


def _places(release: Release) -> Iterator[str]:
    for place in release.catalogue.places.values():
        yield from (place.id, place.area, place.name.lower(), place.zone.lower())
    for region in release.catalogue.regions:
        yield region.name.lower()
    for offer in release.catalogue.evidence:
        yield offer.region.lower()
