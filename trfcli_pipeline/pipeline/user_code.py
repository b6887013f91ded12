"""Python files of the user's, whose functions register themselves when they are imported."""

import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trfcli_pipeline.data.files import require_file, sha256
from trfcli_pipeline.errors import PipelineError, TrfError, is_out_of_memory, one_line

# The resolved files that this process has imported, each with its SHA-256.
_imported: dict[Path, str] = {}


def import_code(path: Path) -> None:
    """Import a Python file, as `spacy train --code` does, unless this process has imported it.

    Raises:
        PipelineError: There is no such file, it isn't Python, or it raises an exception.
    """
    require_file(path, PipelineError, hint="Name a Python file with --code")
    resolved = path.resolve()
    if resolved in _imported:
        return
    spec = importlib.util.spec_from_file_location(path.stem, resolved)
    if spec is None or spec.loader is None:
        raise PipelineError(f"{path}: not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    others = sys.modules.get(path.stem)
    # Dataclasses and pickle look for the module here. A module of another library stays.
    if others is None or Path(getattr(others, "__file__", None) or "") in _imported:
        sys.modules[path.stem] = module
    _imported[resolved] = sha256(resolved)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        problem = explain_code(error) or PipelineError(f"{path}: {one_line(error)}")
        del _imported[resolved]
        raise problem from error


def code_hashes() -> dict[str, str]:
    """SHA-256 of the files that this process has imported, by their names."""
    return {path.name: digest for path, digest in _imported.items()}


class CodeFiles:
    """The files that this process has imported. Unpickled in another process, it imports them."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Sequence[Path]]]:
        return import_files, (tuple(_imported),)


def import_files(paths: Sequence[Path]) -> CodeFiles:
    """Import several files; see `import_code`."""
    for path in paths:
        import_code(path)
    return CodeFiles()


def explain_code(error: BaseException | None) -> PipelineError | None:
    """Return an error that names file and line if an exception comes from the user's code.

    Args:
        error: The exception, or one that it caused.
    """
    while isinstance(error, TrfError):
        error = error.__cause__
    if error is None or is_out_of_memory(error):
        return None
    places = [(each.filename, each.lineno) for each in traceback.extract_tb(error.__traceback__)]
    problem = one_line(error)
    if isinstance(error, SyntaxError):
        places, problem = [*places, (error.filename or "", error.lineno)], error.msg
    own = [(Path(file), line) for file, line in places if Path(file) in _imported]
    if not own:
        return None
    file, line = own[-1]
    here = Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    return PipelineError(f"{shown}, line {line}: {problem}", hint="Correct the file")
