import tomllib
from pathlib import Path

import pytest

from trfcli_pipeline.data.package_data import shipped_path
from trfcli_pipeline.tasks.benchmark import DEFAULT_TEXTS

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["configs/textcat.cfg", "sample_data/sms_spam/test.jsonl"])
def test_files_in_a_source_checkout(name: str) -> None:
    assert shipped_path(name).read_bytes() == (ROOT / name).read_bytes()


def test_files_of_an_installed_package_take_precedence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "trfcli_pipeline.data.package_data.files", lambda package: tmp_path / package
    )
    installed = tmp_path / "trfcli_pipeline" / "configs" / "a.cfg"
    assert shipped_path("configs/a.cfg") == tmp_path / "configs" / "a.cfg"
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert shipped_path("configs/a.cfg") == installed


def test_wheel_includes_all_shipped_files() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for path in (shipped_path("configs"), DEFAULT_TEXTS, DEFAULT_TEXTS.with_name("README.md")):
        assert included[str(path.relative_to(ROOT))] == f"trfcli_pipeline/{path.relative_to(ROOT)}"
