import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from typer.testing import Result

from trfcli.commands.compare import p_value

Run = Callable[..., Result]

FIGURES = ("accuracy", "cats_macro_f")


@Language.factory("test_compare_words", default_config={"words": {}, "exclusive_classes": True})
def make_words(
    nlp: Language, name: str, words: dict[str, str], exclusive_classes: bool
) -> "WordClassifier":
    return WordClassifier(words, exclusive_classes)


class WordClassifier:
    """Gives a text the label of the first word that it knows."""

    def __init__(self, words: dict[str, str], exclusive_classes: bool) -> None:
        self.words = words
        self.exclusive_classes = exclusive_classes
        self.labels = tuple(dict.fromkeys(words.values()))

    def __call__(self, doc: Doc) -> Doc:
        found = next(self.words[token.text] for token in doc if token.text in self.words)
        rest = 0.2 / (len(self.labels) - 1)
        doc.cats = {label: 0.8 if label == found else rest for label in self.labels}
        return doc

    def to_disk(self, path: Path, *, exclude: Iterable[str] = ()) -> None:
        """Nothing: all is in the config."""

    def from_disk(self, path: Path, *, exclude: Iterable[str] = ()) -> "WordClassifier":
        return self


WORDS = {"ham": "HAM", "spam": "SPAM", "eggs": "HAM", "toast": "SPAM"}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pipelines that know all words, mistake some, have other labels, or several for a text."""
    monkeypatch.setattr(
        "trfcli_pipeline.evaluation.classifier.TEXT_CLASSIFIERS", ("test_compare_words",)
    )
    knowing: dict[str, dict[str, Any]] = {
        "all": {"words": WORDS},
        "some": {"words": {"toast": "HAM", "spam": "SPAM", "ham": "HAM", "eggs": "HAM"}},
        "other": {"words": {"ham": "HAM", "spam": "JAM", "eggs": "EGGS"}},
        "several": {"words": WORDS, "exclusive_classes": False},
    }
    for name, config in knowing.items():
        nlp = spacy.blank("en")
        nlp.add_pipe("test_compare_words", config=config)
        nlp.to_disk(tmp_path / name)
    records = [{"text": f"{word} {i}", "label": WORDS[word]} for i in range(10) for word in WORDS]
    lines = ["", *(json.dumps(record) for record in records)]
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_different(run: Run, workspace: Path) -> None:
    result = run("compare", "some", "all", "test.jsonl")
    assert result.exit_code == 0
    assert result.stderr == ""
    first, header, accuracy, macro_f, counts, verdict, *texts = result.stdout.splitlines()
    assert first.startswith(" 40 texts; words/s: A ")
    assert header.split() == ["A", "B", "B", "-", "A", "95", "%", "interval", "p"]
    assert accuracy.split()[:4] == ["accuracy", "0.750", "1.000", "+0.250"]
    assert macro_f.split()[:2] == ["macro", "F"]
    assert counts == (
        " Right: both 30, only A 0, only B 10, neither 0; McNemar's exact test: p 0.002"
    )
    assert verdict == " B is really better in accuracy and macro F."
    assert texts[0] == " Only B is right:"
    assert len(texts) == 4
    # Lines without a record count too, so that an editor finds the text.
    assert '  line 41 "toast 9" is SPAM, A said HAM 0.80' in texts


def test_not_different(run: Run, workspace: Path) -> None:
    result = run("compare", "all", "all", "test.jsonl")
    *_, counts, verdict = result.stdout.splitlines()
    assert counts.startswith(" Right: both 40, only A 0, only B 0, neither 0; ")
    assert verdict == " No real difference shows on 40 texts: what there is may be chance."


def test_json(run: Run, workspace: Path) -> None:
    result = run("compare", "all", "some", "test.jsonl", "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert (found["a"], found["b"], found["data"]) == ("all", "some", "test.jsonl")
    assert (found["n_texts"], found["n_scored"]) == (40, 40)
    assert list(found["differences"]) == list(FIGURES)
    accuracy = found["differences"]["accuracy"]
    assert (accuracy["a"], accuracy["b"], accuracy["difference"]) == (1.0, 0.75, -0.25)
    low, high = accuracy["interval"]
    assert low < -0.25 < high < 0
    assert found["better"] == dict.fromkeys(FIGURES, "A")
    assert found["mcnemar_p_value"] == pytest.approx(2 / 2**10)
    assert found["lines_only_a"] == list(range(5, 42, 4))
    assert found["lines_only_b"] == []
    assert found["verdict"] == "A is really better in accuracy and macro F."


def test_threshold_is_for_both(run: Run, workspace: Path) -> None:
    shutil.copytree("several", "several too")
    args = ("compare", "several", "several too", "test.jsonl", "--json")
    assert json.loads(run(*args).stdout)["differences"]["accuracy"]["a"] == 1.0
    strict = json.loads(run(*args, "--threshold", "0.9").stdout)["differences"]
    assert (strict["accuracy"]["a"], strict["accuracy"]["b"]) == (0.0, 0.0)
    assert list(strict) == [*FIGURES, "cats_micro_f"]


def test_data_from_stdin(run: Run, workspace: Path) -> None:
    content = (workspace / "test.jsonl").read_bytes()
    result = run("compare", "some", "all", "-", "--json", "-b", "7", input=content)
    assert json.loads(result.stdout)["n_texts"] == 40


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("all", "other"), "✘ The models have different labels: B lacks SPAM, which A has"),
        (("other", "all"), "✘ The models have different labels: B lacks JAM, EGGS, which A has"),
        (("several", "all"), "✘ B predicts exactly one label per text, A any number of labels"),
        (("all", "nowhere"), "✘ nowhere: there is no such directory"),
    ],
    ids=" ".join,
)
def test_models_that_cannot_be_compared(
    run: Run, workspace: Path, args: tuple[str, str], problem: str
) -> None:
    result = run("compare", *args, "test.jsonl")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(problem)


def test_labels_that_the_models_do_not_know(run: Run, workspace: Path) -> None:
    (workspace / "new.jsonl").write_text('{"text": "ham", "label": "JAM"}\n')
    result = run("compare", "all", "some", "new.jsonl")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "✘ new.jsonl: 1 label is not in the model: JAM (line 1)\n  Did you mean HAM instead of JAM?"
    )


def test_wrong_usage_exits_with_2(run: Run, workspace: Path) -> None:
    for args in (["all", "test.jsonl"], ["all", "all", "test.jsonl", "--threshold", "2"]):
        result = run("compare", *args)
        assert result.exit_code == 2
        assert "Usage: trf compare" in result.stderr


def test_small_p_values_are_not_called_zero() -> None:
    assert [p_value(p) for p in (0.0002, 0.0336, 1)] == ["<0.001", "0.034", "1.000"]
