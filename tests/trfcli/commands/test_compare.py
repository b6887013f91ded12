import json
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from typer.testing import Result

from trfcli.commands.compare import p_equation, p_value, verdict
from trfcli_pipeline.evaluation.comparison import Comparison, SignificanceTest, holm

Run = Callable[..., Result]

METRICS = ("accuracy", "cats_macro_f")


@Language.factory("test_compare_words", default_config={"words": {}, "exclusive_classes": True})
def make_words(
    nlp: Language, name: str, words: dict[str, str], exclusive_classes: bool
) -> "WordClassifier":
    return WordClassifier(words, exclusive_classes)


class WordClassifier:
    """Predicts the label of the first known word."""

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
        """Save nothing: the config has it all."""

    def from_disk(self, path: Path, *, exclude: Iterable[str] = ()) -> "WordClassifier":
        return self


WORDS = {"ham": "HAM", "spam": "SPAM", "eggs": "HAM", "toast": "SPAM"}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pipelines that know all words, get some wrong, have other labels, are multi-label or fail."""
    monkeypatch.setattr(
        "trfcli_pipeline.evaluation.classifier.TEXT_CLASSIFIERS", ("test_compare_words",)
    )
    knowing: dict[str, dict[str, Any]] = {
        "all": {"words": WORDS},
        "some": {"words": {"toast": "HAM", "spam": "SPAM", "ham": "HAM", "eggs": "HAM"}},
        "other": {"words": {"ham": "HAM", "spam": "JAM", "eggs": "EGGS"}},
        "several": {"words": WORDS, "exclusive_classes": False},
        # Some texts have none of its words.
        "failing": {"words": {"ham": "HAM", "spam": "SPAM"}},
    }
    for name, config in knowing.items():
        nlp = spacy.blank("xx")
        nlp.add_pipe("test_compare_words", config=config)
        nlp.to_disk(tmp_path / name)
    records = [{"text": f"{word} {i}", "label": WORDS[word]} for i in range(10) for word in WORDS]
    lines = ["", *(json.dumps(record) for record in records)]
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_significant_difference(run: Run, workspace: Path) -> None:
    result = run("compare", "some", "all", "test.jsonl")
    assert result.exit_code == 0
    assert result.stderr == ""
    first, a, b, header, accuracy, macro_f, tests, counts, stated, *texts = (
        result.stdout.splitlines()
    )
    assert first == " 40 texts:"
    assert re.fullmatch(r" A: some \([\d,]+ words/s\)", a)
    assert re.fullmatch(r" B: all \([\d,]+ words/s\)", b)
    assert header.split() == ["A", "B", "B", "-", "A", "95%", "CI", "p", "corrected", "p"]
    assert accuracy.split()[:4] == ["accuracy", "0.750", "1.000", "+0.250"]
    assert accuracy.split()[-2:] == ["0.002", "0.002"]
    assert macro_f.split()[:2] == ["macro", "F"]
    assert macro_f.split()[-3:] == ["<", "0.001", "0.002"]
    assert tests == (
        " p: McNemar's exact test for accuracy, paired bootstrap for F. "
        "Corrected p: for testing 2 metrics (Holm)."
    )
    assert counts == " Correct: both 30, only A 0, only B 10, neither 0"
    assert stated == (
        " B scores higher in accuracy (p = 0.002). B scores higher in macro F (p < 0.001)."
    )
    assert texts[0] == " Only B is correct:"
    assert len(texts) == 4
    # Empty lines count: the number is the one that an editor shows.
    assert '  line 41 "toast 9" is SPAM, A predicted HAM 0.80' in texts


def test_no_significant_difference(run: Run, workspace: Path) -> None:
    result = run("compare", "all", "all", "test.jsonl")
    *_, counts, stated = result.stdout.splitlines()
    assert counts == " Correct: both 40, only A 0, only B 0, neither 0"
    assert stated == (" No significant difference in accuracy (p = 1.000) or macro F (p = 1.000).")


def test_json(run: Run, workspace: Path) -> None:
    result = run("compare", "all", "some", "test.jsonl", "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert (found["a"], found["b"], found["data"]) == ("all", "some", "test.jsonl")
    assert (found["n_texts"], found["n_scored"]) == (40, 40)
    assert list(found["differences"]) == list(METRICS)
    accuracy = found["differences"]["accuracy"]
    assert (accuracy["a"], accuracy["b"], accuracy["difference"]) == (1.0, 0.75, -0.25)
    low, high = accuracy["interval"]
    assert low < -0.25 < high < 0
    assert found["better"] == dict.fromkeys(METRICS, "A")
    assert found["mcnemar_p_value"] == pytest.approx(2 / 2**10)
    macro_f = found["differences"]["cats_macro_f"]["p_value"]
    assert found["tests"] == {
        "accuracy": {
            "test": "mcnemar",
            "p_value": found["mcnemar_p_value"],
            "corrected_p_value": pytest.approx(max(2 / 2**10, 2 * macro_f)),
        },
        "cats_macro_f": {
            "test": "bootstrap",
            "p_value": macro_f,
            "corrected_p_value": 2 * macro_f,
        },
    }
    assert found["lines_only_a"] == list(range(5, 42, 4))
    assert found["lines_only_b"] == []
    assert found["verdict"].startswith("A scores higher in accuracy (p = 0.002).")


def test_threshold_applies_to_both(run: Run, workspace: Path) -> None:
    shutil.copytree("several", "several too")
    args = ("compare", "several", "several too", "test.jsonl", "--json")
    assert json.loads(run(*args).stdout)["differences"]["accuracy"]["a"] == 1.0
    strict = json.loads(run(*args, "--threshold", "0.9").stdout)["differences"]
    assert (strict["accuracy"]["a"], strict["accuracy"]["b"]) == (0.0, 0.0)
    assert list(strict) == [*METRICS, "cats_micro_f"]


def test_data_from_stdin(run: Run, workspace: Path) -> None:
    content = (workspace / "test.jsonl").read_bytes()
    result = run("compare", "some", "all", "-", "--json", "-b", "7", input=content)
    assert json.loads(result.stdout)["n_texts"] == 40


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("all", "other"), "✘ The pipelines have different labels: A (all) has SPAM, B (other) do"),
        (("other", "all"), "✘ The pipelines have different labels: A (other) has JAM, EGGS, B (al"),
        (
            ("several", "all"),
            "✘ B (all) predicts exactly one label per text, A (several) any number of labels",
        ),
        (("all", "nowhere"), "✘ nowhere: there is no such directory"),
        (("all", "failing"), "✘ B (failing): The pipeline failed: "),
    ],
    ids=" ".join,
)
def test_pipelines_with_other_labels_are_refused(
    run: Run, workspace: Path, args: tuple[str, str], problem: str
) -> None:
    result = run("compare", *args, "test.jsonl")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(problem)


def test_labels_unknown_to_the_pipelines_are_refused(run: Run, workspace: Path) -> None:
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
        assert result.stderr.startswith("✘ ")


def test_small_p_values_are_not_rounded_to_zero() -> None:
    assert [p_value(p) for p in (0.0002, 0.0336, 1)] == ["< 0.001", "0.034", "1.000"]
    assert [p_equation(p) for p in (0.0002, 0.0336)] == ["p < 0.001", "p = 0.034"]


@pytest.mark.parametrize(
    ("p_values", "stated"),
    [
        (
            (0.125, 0.046),
            "B scores higher in macro F (p = 0.046). The evidence is weak: McNemar's test on "
            "accuracy gives p = 0.125; corrected for testing 2 metrics, macro F has p = 0.092.",
        ),
        (
            (0.03, 0.2),
            "A scores higher in accuracy (p = 0.030). The evidence is weak: the bootstrap test on "
            "macro F gives p = 0.200; corrected for testing 2 metrics, accuracy has p = 0.060.",
        ),
        (
            (0.03, 0.04),
            "A scores higher in accuracy (p = 0.030). B scores higher in macro F (p = 0.040). The "
            "evidence is weak: corrected for testing 2 metrics, accuracy has p = 0.060 and macro F "
            "has p = 0.060.",
        ),
        (
            (0.6, 0.0005),
            "B scores higher in macro F (p < 0.001). "
            "The difference in accuracy is not significant (p = 0.600).",
        ),
        (
            (0.01, 0.02),
            "A scores higher in accuracy (p = 0.010). B scores higher in macro F (p = 0.020).",
        ),
        (
            (0.21, 0.34),
            "No significant difference in accuracy (p = 0.210) or macro F (p = 0.340).",
        ),
        (
            (0.21, 0.34, 0.5),
            "No significant difference in accuracy (p = 0.210), macro F (p = 0.340) or micro F "
            "(p = 0.500).",
        ),
        (
            (0.001, 0.03, 0.5),
            "A scores higher in accuracy (p = 0.001). B scores higher in macro F (p = 0.030). The "
            "evidence for macro F is weak: corrected for testing 3 metrics, macro F has p = 0.060. "
            "The difference in micro F is not significant (p = 0.500).",
        ),
    ],
)
def test_verdict_has_a_sentence_for_each_metric(p_values: tuple[float, ...], stated: str) -> None:
    names = (*METRICS, "cats_micro_f")[: len(p_values)]
    tests = {
        name: SignificanceTest("mcnemar" if name == "accuracy" else "bootstrap", p, each, better)
        for name, p, each, better in zip(names, p_values, holm(p_values), "ABB", strict=False)
    }
    assert verdict(cast("Comparison", SimpleNamespace(tests=tests))) == stated
