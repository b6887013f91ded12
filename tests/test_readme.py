"""Every example of the README runs as it stands, with a tiny encoder in place of `minilm`."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trfcli.app import app
from trfcli_pipeline.data.records import read_records
from trfcli_pipeline.huggingface import sources
from trfcli_pipeline.training import size_rules

README = Path(__file__).parents[1] / "README.md"
SAMPLE = Path(__file__).parents[1] / "sample_data" / "sms_spam"


def blocks(language: str) -> list[str]:
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(pattern, README.read_text(encoding="utf8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def minilm(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locate(name: str) -> sources.Source:
        return sources.Source(title="all-MiniLM-L6-v2", origin="a package", path=tiny_bert)

    monkeypatch.setattr(sources, "_in_package", locate)


@pytest.mark.usefixtures("minilm")
def test_python(capsys: pytest.CaptureFixture[str]) -> None:
    found = blocks("python")
    assert len(found) == 2
    # One namespace: later examples go on from earlier ones.
    namespace: dict[str, Any] = {}
    for code in found:
        exec(compile(code, str(README), "exec"), namespace)
    similarity, pieces, shape, trained = capsys.readouterr().out.strip().splitlines()
    assert -1 <= float(similarity) <= 1
    assert "[CLS]" in pieces
    assert shape.endswith(", 16)")
    assert "POSITIVE" in trained


@pytest.mark.usefixtures("minilm")
def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The commands are what is tested here, and not how far they get.
    monkeypatch.setattr(size_rules, "_LEAST_STEPS", 1)
    for name in ("train", "dev", "test", "texts"):
        source = SAMPLE / ("test.jsonl" if name == "test" else "train.jsonl")
        lines = source.read_bytes().splitlines(keepends=True)
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(lines[:60]))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    for line in commands:
        name, *arguments = shlex.split(line, comments=True)
        if name == "make":
            continue
        assert name == "trf"
        result = runner.invoke(app, arguments)
        assert result.exit_code == 0, (line, result.output)
    for name in ("metrics.json", "report.html", "annotated.jsonl", "out", "trained", "head"):
        assert (tmp_path / name).exists()


def test_forms_of_data(tmp_path: Path) -> None:
    (block,) = blocks("json")
    (tmp_path / "a.jsonl").write_text(block, encoding="utf8")
    records = read_records(tmp_path / "a.jsonl", labelled=True)
    assert [record.labels for record in records] == [{"SPAM"}] * 4
    assert len({record.text for record in records}) == 1
    assert [json.loads(line) for line in block.splitlines()]


def test_settings(make_nlp: Callable[..., Any]) -> None:
    """The tables name every setting of the components, with its default."""
    text = README.read_text(encoding="utf8")
    nlp = make_nlp()
    nlp.add_pipe("trf_textcat")
    for name in ("trf_wordpiecer", "trf_tok2vec", "trf_textcat"):
        table = text[text.index(f"| Setting of `{name}`") :].partition("\n\n")[0]
        rows = [row.split("|") for row in table.splitlines()[2:]]
        described: dict[str, str] = {}
        for row in rows:
            names = re.findall("`(.*?)`", row[1])
            defaults = [each.strip(" `") for each in row[2].split(", ")] * len(names)
            described |= dict(zip(names, defaults, strict=False))
        config = nlp.get_pipe_config(name)
        expected = {
            key: json.dumps(value) if key != "trf_name" else ""
            for key, value in config.items()
            if key not in ("factory", "scorer")
        }
        assert described == expected
