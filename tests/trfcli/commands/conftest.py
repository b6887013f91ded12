import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result


@pytest.fixture(scope="session")
def digest() -> Callable[[Path], str]:
    """Hash the names and contents of all files in a directory."""

    def hash_directory(directory: Path) -> str:
        found = hashlib.sha256()
        for path in sorted(directory.rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            found.update(f"{path.relative_to(directory)}\0{len(content)}\0".encode() + content)
        return found.hexdigest()

    return hash_directory


@pytest.fixture(scope="session")
def write() -> Callable[[Path, Iterable[Any]], Path]:
    """Write records as JSONL. A string is written as it is."""

    def write_jsonl(path: Path, records: Iterable[dict[str, Any] | str]) -> Path:
        lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf8")
        return path

    return write_jsonl


@pytest.fixture
def check_failure(
    run: Callable[..., Result], digest: Callable[[Path], str]
) -> Callable[[list[str], str, str | None], None]:
    """Check that `trf` fails with one error line, a hint and exit code 1, and changes no file.

    `problem` must be part of the error and `advice` of the hint. None stands for no hint.
    """

    def check(args: list[str], problem: str, advice: str | None) -> None:
        before = digest(Path.cwd())
        result = run(*args)
        assert result.exit_code == 1
        assert result.stdout == ""
        first, *rest = result.stderr.splitlines()
        assert first.startswith("✘ ")
        assert problem in first
        assert all(line.startswith("  ") for line in rest)
        assert "This is a bug" not in result.stderr
        assert (not rest) if advice is None else (advice in "\n".join(rest))
        assert digest(Path.cwd()) == before

    return check
