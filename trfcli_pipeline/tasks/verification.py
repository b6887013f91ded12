"""Verify a wheel: install it into a fresh environment and compare its predictions."""

import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trfcli_pipeline.errors import OutputError, PipelineError, one_line
from trfcli_pipeline.tasks.offline_predictions import Prediction, predict_offline
from trfcli_pipeline.tasks.programs import last_error, run_program


class Verified(NamedTuple):
    """What an installed wheel was compared in, bit for bit.

    Attributes:
        texts: Number of texts.
        parts: What was compared: "doc.cats", "doc.tensor" and "annotations", as far as the
            predicted Docs have it.
    """

    texts: int
    parts: tuple[str, ...]


def verify_wheel(
    wheel: Path, name: str, reference: Path, texts: Sequence[str], code: Path | None = None
) -> Verified:
    """Install a wheel without network, and check that it predicts what a pipeline predicts.

    The environment sees the packages of the current one, so nothing else has to be installed.

    Args:
        wheel: The wheel.
        name: Name of its pipeline.
        reference: Directory of the pipeline to compare with.
        texts: The texts to compare on.
        code: A Python file that the other pipeline needs.

    Raises:
        PipelineError: A prediction differs in a bit, or one of the pipelines can't be loaded.
        OutputError: The environment can't be created, or the wheel can't be installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        python = _create_environment(root)
        command = [python, "-m", "pip", "--isolated", "--disable-pip-version-check", "install"]
        _run([*command, "--no-index", "--no-deps", str(wheel)], f"{wheel.name} can't be installed")
        path, installed = predict_offline(python, name, texts)
        if not path.resolve().is_relative_to(root):
            raise PipelineError(
                f"{name}: loaded from {path} instead of the fresh environment",
                hint="Remove it from PYTHONPATH",
            )
    _, expected = predict_offline(sys.executable, str(reference), texts, code)
    for number, (one, other) in enumerate(zip(expected, installed, strict=True), start=1):
        for part, is_equal in _compare(one, other).items():
            if not is_equal:
                raise PipelineError(
                    f"{wheel.name}: {part} of text {number} isn't the same as the pipeline's",
                    hint="A component may not save or load all that it predicts with",
                )
    has_parts = {
        "doc.cats": any(each.cats for each in expected),
        "doc.tensor": any(each.tensor.size for each in expected),
        "annotations": True,
    }
    return Verified(len(texts), tuple(part for part, found in has_parts.items() if found))


def _compare(one: Prediction, other: Prediction) -> dict[str, bool]:
    a, b = one.tensor, other.tensor
    return {
        "doc.cats": one.cats == other.cats,
        "doc.tensor": a.dtype == b.dtype and np.array_equal(a, b),
        "annotations": one.annotations == other.annotations,
    }


def _create_environment(path: Path) -> str:
    """Create a virtual environment that sees the current packages; returns its interpreter."""
    # The current environment's pip works in the new one as well. Its own takes seconds to install.
    # (setuptools changes modules of this process if pip is looked for by other finders.)
    has_pip = PathFinder.find_spec("pip") is not None
    builder = venv.EnvBuilder(with_pip=not has_pip, symlinks=sys.platform != "win32")
    try:
        builder.create(path)
    except (OSError, subprocess.CalledProcessError) as error:
        raise OutputError(
            f"A fresh environment can't be created: {one_line(error)}",
            hint="Install Python's venv and ensurepip (Debian: apt install python3-venv)",
        ) from error
    python: str = builder.ensure_directories(path).env_exe
    shared = [each for each in sys.path if Path(each).name in ("site-packages", "dist-packages")]
    # What comes from its own directory is found first. addsitedir also finds editable packages.
    lines = ["import site", *(f"site.addsitedir({each!r})" for each in shared)]
    own = _run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], "venv")
    Path(own.strip(), "shared.pth").write_text("; ".join(lines) + "\n", encoding="utf-8")
    return python


def _run(command: Sequence[str], problem: str) -> str:
    result = run_program(command)
    if result.returncode != 0:
        raise OutputError(f"{problem}: {last_error(result)}")
    return result.stdout
