"""Factors between units live in `protocol/units.py` and nowhere else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("api", "miner", "protocol", "scripts", "validator")
FACTORS = frozenset({1_000, 3_600, 1_000_000, 1_000_000_000, 3_600_000, 1e-3, 1e-6, 1e-9})
"""What turns one unit into another; 1e3 == 1000, so both spellings are meant."""


def violations(source: str) -> Iterator[int]:
    """Lines that multiply or divide by a bare factor."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp):
            operands: tuple[ast.expr, ...] = (node.left, node.right)
        elif isinstance(node, ast.AugAssign):
            operands = (node.value,)
        else:
            continue
        converts = isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv | ast.Mod)
        if converts and any(_is_factor(operand) for operand in operands):
            yield node.lineno


def _is_factor(node: ast.expr) -> bool:
    # `True == 1`, and only numbers are meant.
    return (
        isinstance(node, ast.Constant)
        and type(node.value) in {int, float}
        and (node.value in FACTORS)
    )


def sources() -> list[Path]:
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in found if path != ROOT / "protocol" / "units.py")


def test_no_module_converts_units_by_itself() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        for line in violations(path.read_text())
    ]

    assert not found, "convert with a function of protocol/units.py: " + ", ".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "energy_mj / 1000",
        "energy_mj // 1_000",
        "1e3 * energy",
        "energy *= 3600.0",
        "power * 1e-3",
        "remainder % 1_000_000",
    ],
)
def test_the_rule_sees_a_bare_factor(source: str) -> None:
    assert list(violations(source)) == [1]


@pytest.mark.parametrize(
    "source", ["count / 100", "limit = 1_000", "range(1_000)", "share * PPM_ONE", "count + 1_000"]
)
def test_the_rule_leaves_other_numbers_alone(source: str) -> None:
    assert not list(violations(source))
