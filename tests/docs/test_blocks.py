"""Run every code block of README and docs that can run, page by page."""

import csv
import io
import re
import shutil
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from blocks import ROOT, Block, commands, pages, read_blocks
from extras import HAS_OPENVINO
from shell import run_command, run_python

from trfcli_pipeline.data.reading import read_records

# Languages of blocks that aren't programs.
SHOWN = {"dockerfile", "text"}


def _check(block: Block, namespace: dict[str, object]) -> None:
    """Run a block, or parse it if it isn't a program."""
    match block.language:
        case "python" if block.reason is not None:
            compile(block.code, block.place, "exec")
        case "bash" if block.reason is not None:
            assert commands(block.code), block.place
        case "python":
            run_python(block.code, namespace, block.place)
        case "bash":
            for line in commands(block.code):
                run_command(line)
        case "console":
            for line in commands(block.code, prompt="$ "):
                run_command(line)
        case "json":
            _check_records(block, block.code, ".jsonl")
        case "csv":
            assert list(csv.reader(io.StringIO(block.code), strict=True))
            _check_records(block, block.code, ".csv")
        case "ini":
            ConfigParser(interpolation=None).read_string(block.code)
        case language:
            assert language in SHOWN, f"{block.place}: unknown language {language}"


def _check_records(block: Block, content: str, suffix: str) -> None:
    path = Path("block").with_suffix(suffix)
    path.write_text(content, encoding="utf8")
    assert read_records(path, labeled=True), block.place


def every(paths: list[Path]) -> Callable[..., Any]:
    return pytest.mark.parametrize("page", paths, ids=lambda path: str(path.relative_to(ROOT)))


@every([page for page in pages() if read_blocks(page)])
@pytest.mark.usefixtures("reader")
def test_the_blocks_of_a_page_run_in_order(page: Path) -> None:
    namespace: dict[str, object] = {}
    text = page.read_text("utf8")
    if "--precision int8" in text and not HAS_OPENVINO:
        pytest.skip("OpenVINO isn't installed")
    for made in re.findall(r"^(?:\$ )?trf init \S+ (\S+)", text, re.MULTILINE):
        shutil.rmtree(made, ignore_errors=True)
    blocks = read_blocks(page)
    for block in blocks:
        _check(block, namespace)
    ran_python = any(each.language == "python" and each.reason is None for each in blocks)
    assert ran_python == bool(namespace)


@every(pages())
def test_every_fence_belongs_to_a_block(page: Path) -> None:
    fences = re.findall(r"^ *```", page.read_text(encoding="utf8"), re.MULTILINE)
    assert len(fences) == 2 * len(read_blocks(page))


@pytest.mark.usefixtures("reader")
def test_all_forms_of_a_record_mean_the_same() -> None:
    (block,) = (
        each
        for each in read_blocks(ROOT / "docs" / "guides" / "data-formats.md")
        if each.language == "json"
    )
    Path("forms.jsonl").write_text(block.code, encoding="utf8")
    records = read_records("forms.jsonl", labeled=True)
    assert [record.labels for record in records] == [{"SPAM"}] * 4
    assert len({record.text for record in records}) == 1


def test_the_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf8")
    targets = re.findall(r'\]\(([^)#]+)|src="([^"]+)"', text)
    paths = [link or source for link, source in targets]
    assert [path for path in paths if not (ROOT / path).exists()] == []
