import json
from collections.abc import Callable
from pathlib import Path

import pytest
from textcats import make
from typer.testing import Result

from trfcli.commands.explain import show_faithfulness
from trfcli_pipeline.evaluation.deletion import Faithfulness

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]


@pytest.fixture(scope="module")
def model(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "model"
    make(tiny_bert, exclusive_classes=True).to_disk(path)
    return str(path)


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_texts(run: Run, model: str) -> None:
    result = run("explain", model, "I love this film", "The lazy dog", "--steps", "2")
    assert result.exit_code == 0
    assert "   I love this film\n" in result.stdout
    assert "   The lazy dog\n" in result.stdout
    assert result.stdout.count("an empty input") == 2


def test_json_adds_up(run: Run, model: str) -> None:
    result = run("explain", model, "I love this film", "--json", "--label", "DOG")
    (row,) = map(json.loads, result.stdout.splitlines())
    assert (row["label"], row["text"]) == ("DOG", "I love this film")
    total = row["base_log_odds"] + sum(token["value"] for token in row["tokens"])
    assert total + row["remainder"] == pytest.approx(row["log_odds"], abs=1e-6)


def test_lines_of_stdin(run: Run, model: str) -> None:
    result = run("explain", model, "--json", "--steps", "1", input="one\n\ntwo\n")
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["one", "two"]
    assert "line 2: skipped, because it is empty" in result.stderr


def test_page(run: Run, model: str) -> None:
    result = run("explain", model, "I love this film", "--steps", "1", "--html", "page.html")
    assert result.exit_code == 0
    assert "Wrote page.html" in result.stderr
    assert "love" in Path("page.html").read_text()


def test_name_of_a_file_as_text(run: Run, model: str) -> None:
    Path("my texts.txt").write_text("one")
    result = run("explain", model, "my texts.txt", "--steps", "1")
    assert "is a file, but its name is taken as a text" in result.stderr
    assert "< 'my texts.txt'" in result.stderr


def test_faithfulness(run: Run, model: str) -> None:
    Path("texts.txt").write_text("I love this film\nThe lazy dog jumps over it\n")
    result = run("explain", model, "--faithfulness", "texts.txt", "--steps", "1")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == " 2 texts"
    assert "the 3 that add most" in result.stdout
    result = run("explain", model, "--faithfulness", "texts.txt", "--steps", "1", "--json")
    assert json.loads(result.stdout)["n_texts"] == 2


def test_ratio_of_drops(capsys: pytest.CaptureFixture[str]) -> None:
    drops = (0.48, (0.4, 0.5)), (0.1, (0.05, 0.2))
    show_faithfulness(Faithfulness(9, 0, 3, 5, *drops[0], *drops[1], 4.8, (3.1, 7.0)))
    assert capsys.readouterr().out.splitlines()[-1] == (
        " Those that add most: 4.8 times the drop of random tokens (95% CI 3.1 to 7.0)"
    )


def test_unknown_label(run: Run, model: str) -> None:
    result = run("explain", model, "a text", "--label", "CAT")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "✘ CAT: not a label of this model",
        "  Use one of: FRUIT, DOG, FILM",
    ]


def test_missing_data(check_failure: CheckFailure, model: str) -> None:
    check_failure(["explain", model, "--faithfulness", "missing.jsonl"], "missing.jsonl", None)


def test_missing_model(check_failure: CheckFailure) -> None:
    check_failure(["explain", "missing", "a text"], "missing: there is no such", "trf init")


def test_no_text(run: Run, model: str) -> None:
    result = run("explain", model, input="\n")
    assert result.exit_code == 1
    assert "stdin: no text" in result.stderr


@pytest.mark.parametrize("texts", [["   "], ["a text", "\n"], [""]])
def test_blank_text_is_one_line(run: Run, model: str, texts: list[str]) -> None:
    result = run("explain", model, *texts)
    assert result.exit_code == 2
    assert result.output == "✘ TEXT is empty\n"


@pytest.mark.parametrize("args", [["a text"], ["--html", "page.html"]])
def test_faithfulness_excludes_texts(run: Run, model: str, args: list[str]) -> None:
    result = run("explain", model, *args, "--faithfulness", "texts.txt")
    assert result.exit_code == 2
    assert "--faithfulness takes neither TEXT nor --html" in result.stderr


def test_int8_encoder(run: Run, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from trfcli_pipeline.encoder.backends import InferenceConfig
    from trfcli_pipeline.encoder.shim import TransformersShim

    load = TransformersShim.from_disk

    def load_optimized(self: TransformersShim, path: Path) -> TransformersShim:
        load(self, path)
        self.inference = InferenceConfig("openvino", "int8")
        return self

    monkeypatch.setattr(TransformersShim, "from_disk", load_optimized)
    result = run("explain", model, "a text")
    assert result.exit_code == 1
    assert "openvino, which has no gradients" in result.stderr.splitlines()[0]
