"""Print the pins of `requirements.lock`: what the `dev` extra needs, as installed here.

Walks the requirements of `carbonbench[dev]` through the metadata of the running environment,
so that packages which happen to be installed beside them are left out.
"""

import importlib.metadata
import sys

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_HEADER = """\
# Every package of the demo, the tests and the gates, pinned. Made by: make lock
#
# Without hashes, because torch comes in several builds under one version (CPU, CUDA), one per
# package index; pip takes the build of the index that it is set to. On Linux the default
# build brings CUDA libraries of several GB, which are left to torch and not pinned here.
"""


def pins(root: str) -> dict[str, str]:
    """Version by name of everything that a requirement needs, itself left out.

    Args:
        root: A requirement, such as `carbonbench[dev]`.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [Requirement(root)]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            queue += _needs(name, extra)
        found[name] = importlib.metadata.version(name).partition("+")[0]
    del found[canonicalize_name(Requirement(root).name)]
    return found


def _needs(name: str, extra: str) -> list[Requirement]:
    lines = importlib.metadata.requires(name) or []
    requirements = [Requirement(line) for line in lines]
    return [
        requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    ]


def main() -> None:
    """Print the lock."""
    lines = [f"{name}=={version}" for name, version in sorted(pins("carbonbench[dev]").items())]
    sys.stdout.write(_HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
