"""Parameters counted in the headers of weight files."""

import json
from pathlib import Path

import pytest

from protocol.errors import WorkloadError
from protocol.weight_files import parameter_count


def write_weights(path: Path, shapes: dict[str, list[int]]) -> None:
    rows = {name: {"dtype": "BF16", "shape": shape} for name, shape in shapes.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}, **rows}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def test_all_tensors_of_all_files_count(tmp_path: Path) -> None:
    write_weights(tmp_path / "model-1.safetensors", {"a": [3, 4], "b": [5]})
    write_weights(tmp_path / "model-2.safetensors", {"c": [2, 2, 2], "scalar": []})

    assert parameter_count(tmp_path) == 12 + 5 + 8 + 1


def test_no_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="no weights"):
        parameter_count(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x02\0\0\0\0\0\0\0{",
        b'\x0a\0\0\0\0\0\0\0{"a":null}',
    ],
)
def test_damaged_files_are_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(WorkloadError, match=r"model\.safetensors .* damaged"):
        parameter_count(tmp_path)
