"""Scores under simulated behaviour, on the real scoring code: tables 5.2 to 5.5 and 5.7."""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from protocol.constants import EXCLUSION_ROUNDS, SAMPLE_COUNT
from protocol.ids import BlockHash, Digest
from protocol.sampling import sample_indices
from protocol.units import PPM_ONE
from scripts.simulate.estimators import BETWEEN_SD, NANO, WITHIN_SD, Array, cohort, in_nano
from scripts.simulate.tables import Figure, Table, figures
from validator.scoring import PROOF_STRIKES, consistency_ppm, distance_milli

PROMPTS = 1_000
_FALSE_ALARM = 0.001
_SKIPPED = (1, 2, 5, 10, 20, 50)
_DRAWN = (10, 20, 32, 50, 64, 100, 150, 200, 300)
_REPORTED_LAZY: tuple[tuple[float | None, ...], ...] = (
    (9.6, 18.4, 27.9, 40.3, 48.5, 65.3, 80.5, 89.4, 97.2),
    (18.4, 33.5, 48.2, 64.5, 73.7, 88.1, 96.3, 98.9, 99.9),
    (40.3, 64.5, 81.1, 92.8, 96.6, 99.6, 100, 100, 100),
    (65.3, 88.1, 96.8, 99.6, 99.9, 100, 100, 100, 100),
    (89.4, 98.9, 99.9, 100, 100, 100, 100, 100, 100),
    (99.9, 100, 100, 100, 100, 100, 100, 100, 100),
)


def lazy_pct(skipped_pct: float, drawn: int, trials: int) -> float:
    """How often the real sampling draws a prompt of a skipped subset (%)."""
    skipped = round(PROMPTS * skipped_pct / 100)
    caught = 0
    for trial in range(trials):
        indices = sample_indices(
            beacon=BlockHash(f"0x{trial:064x}"),
            report_digest=Digest("00" * 32),
            population=PROMPTS,
            count=drawn,
        )
        caught += indices[0] < skipped
    return 100 * caught / trials


def lazy_exact_pct(skipped_pct: float, drawn: int) -> float:
    """The same by the hypergeometric distribution (%)."""
    skipped = round(PROMPTS * skipped_pct / 100)
    return 100 * float(1 - stats.hypergeom.pmf(0, PROMPTS, skipped, drawn))


def lazy_table(trials: int) -> Table:
    """Table 5.2: lazy subsets caught, by the exact law, and by the real sampling at k = 64."""
    exact = [[lazy_exact_pct(share, drawn) for drawn in _DRAWN] for share in _SKIPPED]
    known = figures(
        [f"{share} % skipped" for share in _SKIPPED],
        [f"k={drawn}" for drawn in _DRAWN],
        exact,
        _REPORTED_LAZY,
        tolerance=0.06,
    )
    place = _DRAWN.index(SAMPLE_COUNT)
    drawn = tuple(
        Figure(
            row=f"{share} % skipped",
            column="k=64, drawn",
            value=lazy_pct(share, SAMPLE_COUNT, trials),
            reported=_REPORTED_LAZY[row][place],
            tolerance=300 * math.sqrt(0.25 / trials),
        )
        for row, share in enumerate(_SKIPPED)
    )
    return Table(name="5.2 lazy subset of 1,000 prompts caught", unit="%", figures=known + drawn)


_NOISY = ((0.001, 0.05, 64), (0.01, 0.05, 64), (0.03, 0.1, 64), (0.03, 0.1, 100))
_REPORTED_NOISY: tuple[tuple[float | None, ...], ...] = (
    (3, 0.004, 60, 95, 100, 100),
    (5, 0.05, 30, 81, 99.8, 100),
    (8, 0.06, 10, 48, 96, 100),
    (10, 0.09, 20, 75, 99.8, 100),
)


def noisy_table() -> Table:
    """Table 5.2, second part: honest failures a, misses b, threshold at 1 false alarm in 1,000."""
    rows = []
    for honest, missed, drawn in _NOISY:
        threshold = next(
            count
            for count in range(drawn)
            if stats.binom.sf(count - 1, drawn, honest) <= _FALSE_ALARM
        )
        false_alarm = 100 * float(stats.binom.sf(threshold - 1, drawn, honest))
        rows.append(
            [
                threshold,
                false_alarm,
                *(
                    100 * _caught(share / 100, honest, missed, drawn, threshold)
                    for share in (5, 10, 20, 50)
                ),
            ]
        )
    return Table(
        name="5.2 with honest failures a and misses b",
        unit="%",
        figures=figures(
            [f"a={100 * a:g} %, b={100 * b:g} %, k={k}" for a, b, k in _NOISY],
            ["threshold", "false alarm", "f=5 %", "10 %", "20 %", "50 %"],
            rows,
            _REPORTED_NOISY,
            tolerance=1.0,
        ),
    )


def _caught(share: float, honest: float, missed: float, drawn: int, threshold: int) -> float:
    skipped = round(PROMPTS * share)
    hits = np.arange(drawn + 1)
    weights = stats.hypergeom.pmf(hits, PROMPTS, skipped, drawn)
    total = 0.0
    for count, weight in zip(hits, weights, strict=True):
        found = stats.binom.pmf(np.arange(count + 1), count, 1 - missed)
        rest = stats.binom.sf(threshold - 1 - np.arange(count + 1), drawn - count, honest)
        total += float(weight * np.sum(found * rest))
    return total


_SPREADS = (0.02, 0.03, 0.045, 0.06, 0.08)
_SHADES = (-3, -5, -10, -15, -20, -30)
_REPORTED_POWER: tuple[tuple[float | None, ...], ...] = (
    (13, 46, 99, 100, 100, 100),
    (6, 18, 79, 100, 100, 100),
    (3, 7, 37, 82, 99, 100),
    (2, 4, 19, 51, 84, 100),
    (1, 3, 10, 27, 54, 96),
)


def power_table(trials: int) -> Table:
    """Table 5.3: power of a one-sided 0.5 % test against shading, 20 operators."""
    chance = np.random.default_rng(53)
    limit = float(stats.norm.ppf(0.005))
    rows = []
    for spread in _SPREADS:
        error = spread * math.sqrt(1 + 1 / 19)
        noise = chance.normal(0, 1, trials)
        rows.append(
            [
                100 * float(np.mean(noise + math.log1p(shade / 100) / error < limit))
                for shade in _SHADES
            ]
        )
    return Table(
        name="5.3 power of a one-sided 0.5 % test against shading, 20 operators",
        unit="%",
        figures=figures(
            [f"sd {100 * spread:g} %" for spread in _SPREADS],
            [f"{shade} %" for shade in _SHADES],
            rows,
            _REPORTED_POWER,
            tolerance=2.5,
        ),
    )


Score = Callable[[int, list[int]], float]


def plateau(own: int, others: list[int]) -> float:
    """C as the network gives it."""
    return consistency_ppm(distance_milli(own, others)) / PPM_ONE


def plateau_mad(own: int, others: list[int]) -> float:
    """The plateau on the cohort's spread alone, 3 % at least."""
    return min(1.0, max(0.0, (4 - abs(_z_mad(own, others))) / 2))


def bell_mad(own: int, others: list[int]) -> float:
    """exp(-z^2 / 2) on the cohort's spread alone."""
    return math.exp(-(_z_mad(own, others) ** 2) / 2)


def _z_mad(own: int, others: list[int]) -> float:
    values = np.asarray(others, dtype=np.float64) / NANO
    centre = float(np.median(values))
    spread = max(1.4826 * float(np.median(np.abs(values - centre))), 0.03)
    error = math.sqrt(spread**2 * (1 + 1.57 / len(others)) + 0.02**2)
    return (own / NANO - centre) / error


_BEHAVIOURS: tuple[tuple[str, float | None, tuple[float | None, ...]], ...] = (
    ("honest", 0.0, (1.00, 0.985, 0.72)),
    ("-3 %", -0.03, (0.99, 0.97, 0.64)),
    ("-5 %", -0.05, (0.98, 0.94, 0.55)),
    ("-10 %", -0.10, (0.85, 0.73, 0.23)),
    ("-15 %", -0.15, (0.53, 0.42, 0.05)),
    ("-20 %", -0.20, (0.19, 0.14, 0.01)),
    ("-30 %", -0.30, (0.00, 0.00, 0.00)),
    ("+10 %", 0.10, (0.88, 0.83, 0.31)),
    ("+30 %", 0.30, (0.07, 0.04, 0.00)),
    ("copy", None, (1.00, 1.00, 1.00)),
)
"""What one of 20 does; None copies last round's consensus."""


def mean_consistency(
    behaviour: float | None, trials: int, *, count: int = 20, score: Score = plateau
) -> float:
    """Mean C of one operator whose energy is off by a share; None copies the consensus."""
    chance = np.random.default_rng(54)
    total = 0.0
    for _ in range(trials):
        values = cohort(chance, count, sd=BETWEEN_SD)
        own = float(values[0]) + math.log1p(behaviour or 0.0)
        if behaviour is None:
            own = float(np.median(values[1:])) + float(chance.normal(0, WITHIN_SD))
        logs = in_nano(np.append(values[1:], own))
        total += score(logs[-1], logs[:-1])
    return total / trials


def consistency_table(trials: int) -> Table:
    """Table 5.4: mean consistency of one adversary among 20, and in a cell of 5."""
    scores = (plateau, plateau_mad, bell_mad)
    rows = [[mean_consistency(bias, trials, score=s) for s in scores] for _, bias, _ in _BEHAVIOURS]
    known = figures(
        [name for name, _, _ in _BEHAVIOURS],
        ["plateau, blend (ours)", "plateau, MAD", "bell, MAD"],
        rows,
        [told for _, _, told in _BEHAVIOURS],
        tolerance=0.03,
    )
    small = tuple(
        Figure(
            row=name,
            column="cell of 5 (ours)",
            value=mean_consistency(bias, trials, count=5),
            reported=told,
            tolerance=0.03,
        )
        for name, bias, told in (
            ("honest", 0.0, None),
            ("-10 %", -0.1, 0.96),
            ("-20 %", -0.2, 0.49),
            ("-30 %", -0.3, 0.03),
        )
    )
    return Table(name="5.4 mean consistency C of one adversary", unit="1", figures=known + small)


_SIZES = (2, 3, 5, 10, 20, 50)
_REPORTED_LUCK: tuple[tuple[float | None, ...], ...] = (
    (0.0, 0.0, 0.0, 0.02, 0.06, 0.14),
    (0.18, 0.29, 0.97, 1.26, 0.95, 0.53),
)


def bad_luck_pct(count: int, spread: float, trials: int) -> float:
    """How often an honest operator gets less than half of C (%)."""
    chance = np.random.default_rng(count)
    unlucky = 0
    for _ in range(trials):
        logs = in_nano(cohort(chance, count, sd=spread))
        unlucky += plateau(logs[0], logs[1:]) < 0.5  # noqa: PLR2004 - half
    return 100 * unlucky / trials


def luck_table(trials: int) -> Table:
    """Table 5.5: honest miners scored below a half by bad luck."""
    rows = [[bad_luck_pct(count, sd, trials) for count in _SIZES] for sd in (BETWEEN_SD, 0.08)]
    return Table(
        name="5.5 honest operators with C below 0.5",
        unit="%",
        figures=figures(
            ["blend (ours), sd 4.5 %", "blend (ours), sd 8 %"],
            [f"n={count}" for count in _SIZES],
            rows,
            _REPORTED_LUCK,
            tolerance=400 * math.sqrt(0.01 / trials),
        ),
    )


HONEST_COST = 0.60
CHEAT_COST = 0.05
HONEST_VALUE = 1 - HONEST_COST
CAUGHT = (0.01, 0.05, 0.2, 0.97)
_PENALTIES = ((0, 0), (14, 0), (100, 0), (100, 30), (400, 100))
_REPORTED_VALUE: tuple[tuple[float | None, ...], ...] = (
    (0.95, 0.83, 0.47, 0.33, -0.01),
    (0.95, 0.56, 0.16, -0.09, -0.19),
    (0.95, 0.25, 0.05, -0.24, -0.24),
    (0.95, 0.07, 0.01, -0.29, -0.25),
)


def value_per_round(caught: float, excluded: int, collateral: float = 0.0) -> float:
    """Table 5.7's expected value of cheating per round, pay 1 for every round not excluded."""
    lasts = 1 / caught
    return (lasts * (1 - CHEAT_COST) - collateral) / (lasts + excluded)


def strikes_value(caught: float, chance: np.random.Generator, rounds: int) -> float:
    """Value of cheating per round under the rule in use, by playing it.

    A round that fails the token proof earns nothing; at the third failure within 100 rounds
    the average is lost and the miner is out for 100 rounds. The average pays what was earned
    (half-life 6.6 rounds), so what is lost with it is the rounds it had not paid yet.
    """
    average = earned = 0.0
    failures: list[int] = []
    out_until = -1
    for number in range(rounds):
        if number <= out_until:
            continue
        earned -= CHEAT_COST
        failed = chance.random() < caught
        average = 0.9 * average + (0.0 if failed else 0.1)
        if failed:
            failures = [at for at in failures if at > number - EXCLUSION_ROUNDS] + [number]
        if failed and len(failures) >= PROOF_STRIKES:
            average, failures, out_until = 0.0, [], number + EXCLUSION_ROUNDS
        earned += average
    return earned / rounds


def value_table(trials: int) -> Table:
    """Table 5.7: value of cheating per round; honesty is worth 0.40."""
    rows = [[value_per_round(q, out, kept) for out, kept in _PENALTIES] for q in CAUGHT]
    known = figures(
        [f"caught {q:g}" for q in CAUGHT],
        [f"L={out}" + (f", P={kept}" if kept else "") for out, kept in _PENALTIES],
        rows,
        _REPORTED_VALUE,
        tolerance=0.02,
    )
    chance = np.random.default_rng(58)
    played = tuple(
        Figure(
            row=f"caught {q:g}",
            column="rule in use",
            value=strikes_value(q, chance, trials * 100),
            reported=None,
            tolerance=0,
        )
        for q in CAUGHT
    )
    return Table(
        name="5.7 value of cheating per round (honesty: 0.40)",
        unit="rewards",
        figures=known + played,
        note="The rule in use: three failed token proofs within 100 rounds, then 100 rounds out.",
    )


def curve(behaviours: Array, trials: int, *, count: int) -> Array:
    """Mean C over a range of energy offsets, for the plot."""
    return np.array([mean_consistency(float(bias), trials, count=count) for bias in behaviours])
