"""Print the lowest version of each requirement in pyproject.toml as a pip constraint."""

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
# numpy>=2.0,<3 -> numpy, 2.0; the documentation is built with current versions only.
LOWER_BOUND = re.compile(r"([\w.-]+)\s*(?:>=|==)\s*([\w.]+)")


def constraints(project: dict) -> list[str]:
    """`name==version` for every requirement of the project and of its extras, except `docs`."""
    extras = project["optional-dependencies"]
    groups = [project["dependencies"], *(extras[name] for name in extras if name != "docs")]
    bounds = (LOWER_BOUND.match(requirement) for group in groups for requirement in group)
    return sorted({f"{bound[1]}=={bound[2]}" for bound in bounds if bound})


if __name__ == "__main__":
    with PYPROJECT.open("rb") as file:
        print(*constraints(tomllib.load(file)["project"]), sep="\n")
