"""Installs simulated GPUs at the first `import pynvml`, when a parent process asks for them.

Python imports this at start-up because `child_environment` puts its folder on `PYTHONPATH`.
It imports nothing of weight, as every start of a child pays for that.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class _InstallOnImport:
    """A meta path finder that lets the real pynvml load, then puts the simulation under it."""

    def find_spec(
        self, fullname: str, path: "Sequence[str] | None", target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """The real spec of pynvml, with a loader that installs the fake afterwards."""
        if fullname != "pynvml":
            return None
        from importlib.util import find_spec  # noqa: PLC0415 - only when it is needed

        sys.meta_path.remove(self)
        spec = find_spec("pynvml")
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_install(module: "ModuleType") -> None:
            load(module)
            from scripts.devnet.gpu.install import install_from_environment  # noqa: PLC0415

            install_from_environment()

        spec.loader.exec_module = load_and_install  # type: ignore[method-assign]
        return spec


if os.environ.get("CARBONBENCH_SIMULATED_GPU"):
    sys.meta_path.insert(0, _InstallOnImport())
