from pathlib import Path

import pytest


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An existing directory with no siblings."""
    path = tmp_path / "model"
    (path / "folder").mkdir(parents=True)
    (path / "folder" / "old").write_text("old")
    return path
