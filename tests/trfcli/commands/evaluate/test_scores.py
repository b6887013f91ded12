"""Output of `trf evaluate`: tables, JSON, and the report."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy
from evaluate_command import GOOD, TEXTS, Digest, Run, Write

from trfcli.rendering.mistakes import prediction
from trfcli_pipeline.evaluation import run as evaluation_run
from trfcli_pipeline.evaluation.abstention import Abstention, Aim, FittedAbstention
from trfcli_pipeline.evaluation.mistakes import Mistake

CONTROLS = "\x1b" * 20
SPACY_SCORES = {
    *("cats_score", "cats_score_desc", "cats_micro_p", "cats_micro_r", "cats_micro_f"),
    *("cats_macro_p", "cats_macro_r", "cats_macro_f", "cats_macro_auc"),
    *("cats_f_per_type", "cats_auc_per_type"),
}
OWN_SCORES = {
    *("accuracy", "speed", "n_texts", "weighted_p", "weighted_r", "weighted_f", "mcc", "ece"),
    *("macro_auc", "macro_average_precision", "average_precision_per_type", "intervals"),
}


def metrics_of(run: Run, *args: str) -> dict[str, Any]:
    result = run("evaluate", *args, "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    metrics: dict[str, Any] = json.loads(result.stdout)
    return metrics


def test_tables_of_scores_and_confusions(run: Run, workspace: Path) -> None:
    result = run("evaluate", "exclusive", "test.jsonl")
    assert result.exit_code == 0
    assert result.stderr == ""
    first, second, third, *tables = result.stdout.splitlines()
    assert first.startswith(" 12 texts, 48 words, ")
    assert first.endswith(" words/s")
    assert second == (" accuracy 1.000 (95% CI 0.735 to 1.000)    macro F 1.000")
    assert third.startswith(
        " macro AUC 1.000    average precision 1.000    MCC 1.000    calibration error 0."
    )
    assert tables == [
        " label              precision   recall       F   texts",
        " BAD                    1.000    1.000   1.000       6",
        " GOOD                   1.000    1.000   1.000       6",
        " micro average          1.000    1.000   1.000",
        " macro average          1.000    1.000   1.000",
        " weighted average       1.000    1.000   1.000",
        " Rows: true label. Columns: predicted label.",
        "        BAD   GOOD",
        " BAD      6      0",
        " GOOD     0      6",
        " All 12 texts right, but 12 texts are too few to rely on.",
    ]


def test_promises_are_checked(run: Run, workspace: Path, write: Write) -> None:
    nlp = spacy.load(workspace / "exclusive")
    component: Any = nlp.get_pipe("trf_textcat")
    component.fitted_abstention = FittedAbstention(
        Abstention(1.0, 0.0, 0.01), Aim("accuracy", 0.9), 500, 1.0, 0.97, 0.9, 1.5
    )
    nlp.to_disk(workspace / "exclusive")
    write(workspace / "more.jsonl", TEXTS * 2)
    lines = run("evaluate", "exclusive", "more.jsonl").stdout.splitlines()
    start = lines.index(" Accuracy if only the texts with the highest confidence are answered:")
    assert lines[start + 2].split() == ["accuracy", *["1.000"] * 6]
    assert lines[start + 3] == " Area under the risk-coverage curve (AURC): 0.0000"
    assert lines[start + 4] == (
        " Answers 100.0 % of the texts, and is right in 100.0 % of cases "
        "(95% CI 85.8 % to 100.0 %; promised 90.0 %: kept)"
    )
    assert lines[start + 5].startswith(" Label sets, of ")
    found = metrics_of(run, "exclusive", "more.jsonl")
    assert found["aurc"] == 0.0
    assert found["accuracy_at_coverage"]["0.9"] == 1.0
    assert found["abstention"]["accuracy"]["verdict"] == "kept"


def test_shares_are_rows_on_a_narrow_terminal(
    run: Run, workspace: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workspace / "more.jsonl", TEXTS * 2)
    monkeypatch.setattr("trfcli.console.data_width", lambda: 39)
    lines = run("evaluate", "exclusive", "more.jsonl").stdout.splitlines()
    start = lines.index(" share answered   accuracy")
    assert [line.split() for line in lines[start + 1 : start + 3]] == [
        ["50", "%", "1.000"],
        ["70", "%", "1.000"],
    ]


def test_mistakes_are_shown_with_their_line_number(run: Run, workspace: Path, write: Write) -> None:
    # Empty lines count: the number is the one that an editor shows.
    write(
        workspace / "odd.jsonl",
        ["", *TEXTS, {"text": f"{GOOD}\n{CONTROLS}", "label": "BAD"}],
    )
    result = run("evaluate", "exclusive", "odd.jsonl")
    assert result.exit_code == 0
    *_, of_bad, of_good, title, mistake, summary = result.stdout.splitlines()
    assert of_bad.split() == ["BAD", "6", "1"]
    assert of_good.split() == ["GOOD", "0", "6"]
    assert title == " Most confident mistakes:"
    shown = f"{GOOD} {CONTROLS}".replace("\x1b", r"\x1b")[:59]
    assert summary == " 12 of 13 texts right, but 13 texts are too few to rely on."
    assert mistake.startswith(f'  line 14 "{shown}…" is BAD, predicted GOOD ')
    assert "\x1b" not in result.stdout


def test_most_and_least_confident_mistakes_are_sorted(
    run: Run, workspace: Path, write: Write
) -> None:
    flipped = {"BAD": "GOOD", "GOOD": "BAD"}
    write(workspace / "flipped.jsonl", [{**r, "label": flipped[r["label"]]} for r in TEXTS])
    *lines, _ = run("evaluate", "exclusive", "flipped.jsonl").stdout.splitlines()
    most, least = (
        lines.index(" Most confident mistakes:"),
        lines.index(" Least confident mistakes:"),
    )
    assert (least - most, len(lines) - least) == (4, 4)
    shown = lines[most + 1 : least] + lines[least + 1 :][::-1]
    scores = [float(line.rpartition(" ")[2]) for line in shown]
    assert scores == sorted(scores, reverse=True)
    assert len(set(shown)) == 6


def test_prediction_names_the_label_that_the_score_is_for() -> None:
    mistake = Mistake(0, gold=("A",), predicted=("A", "B"), label="B", score=0.756)
    assert prediction(mistake) == "A + B (B 0.76)"
    assert prediction(replace(mistake, predicted=("B",))) == "B 0.76"
    assert prediction(replace(mistake, predicted=(), label="A", score=0.4)) == "none (A 0.40)"


def test_auc_of_a_single_label_is_not_defined(run: Run, workspace: Path, write: Write) -> None:
    write(workspace / "one.jsonl", [record for record in TEXTS if record["label"] == "GOOD"])
    assert "macro AUC not defined" in run("evaluate", "exclusive", "one.jsonl").stdout


def test_multilabel_table_has_no_confusion_matrix(run: Run, workspace: Path, write: Write) -> None:
    write(workspace / "none.jsonl", [*TEXTS, {"text": GOOD, "labels": []}])
    result = run("evaluate", "multilabel", "none.jsonl")
    assert result.exit_code == 0
    assert " GOOD " in result.stdout
    assert "    micro F 0." in result.stdout
    assert "predicted label" not in result.stdout
    assert f'line 13 "{GOOD}" is none, predicted GOOD ' in result.stdout


def test_json_has_the_documented_keys(run: Run, workspace: Path) -> None:
    metrics = metrics_of(run, "exclusive", "test.jsonl")
    assert metrics.keys() >= SPACY_SCORES | OWN_SCORES
    assert metrics["accuracy"] == metrics["cats_score"] == metrics["cats_macro_f"] == 1.0
    assert metrics["cats_f_per_type"].keys() == {"BAD", "GOOD"}
    assert metrics["n_texts"] == 12
    assert metrics["speed"] > 0
    assert metrics["confusion_matrix"] == [[6, 0], [0, 6]]
    assert (metrics["n_correct"], metrics["weakest_label"]) == (12, None)
    assert metrics["summary"].startswith("All 12 texts right")


def test_json_agrees_with_spacy(run: Run, workspace: Path, write: Write) -> None:
    records = [*TEXTS[:7], {"text": GOOD, "label": "BAD"}]
    write(workspace / "few.jsonl", records)
    metrics = metrics_of(run, "exclusive", "few.jsonl")
    nlp = spacy.load(workspace / "exclusive")
    examples = []
    for record in records:
        cats = {label: float(label == record["label"]) for label in ("BAD", "GOOD")}
        doc = nlp.make_doc(record["text"])
        examples.append(spacy.training.Example.from_dict(doc, {"cats": cats}))
    scores = nlp.evaluate(examples)
    assert scores["cats_macro_f"] < 1.0
    for name in ("cats_micro_f", "cats_macro_f", "cats_macro_auc"):
        assert metrics[name] == pytest.approx(scores[name])


def test_json_on_stdout_equals_the_file(run: Run, workspace: Path) -> None:
    result = run("evaluate", "exclusive", "test.jsonl", "--json", "-o", "metrics.json")
    assert result.exit_code == 0
    assert result.stdout == (workspace / "metrics.json").read_text(encoding="utf8")
    assert result.stderr == "✔ Wrote metrics.json\n"


def test_quiet_still_prints_the_table_and_writes_the_file(run: Run, workspace: Path) -> None:
    result = run("evaluate", "exclusive", "test.jsonl", "--output", "metrics.json", "--quiet")
    assert result.exit_code == 0
    assert " accuracy 1.000 " in result.stdout
    assert result.stderr == ""
    assert json.loads((workspace / "metrics.json").read_text())["accuracy"] == 1.0


def test_html_report_replaces_an_older_one(run: Run, workspace: Path, write: Write) -> None:
    write(workspace / "odd.jsonl", [*TEXTS, {"text": GOOD, "label": "BAD"}])
    assert run("evaluate", "exclusive", "test.jsonl", "--html", "report.html").exit_code == 0
    result = run("evaluate", "exclusive", "odd.jsonl", "--html", "report.html")
    assert result.exit_code == 0
    assert result.stderr == "✔ Wrote report.html\n"
    html = (workspace / "report.html").read_text(encoding="utf8")
    assert html.startswith("<!DOCTYPE html>")
    assert "Model <b>exclusive</b> on 13 texts from <b>odd.jsonl</b>" in html
    assert f'<td data-name="Line">13</td><td class="text">{GOOD}</td>' in html
    assert not list(workspace.glob(".report*"))


def test_report_shows_how_the_model_was_trained(run: Run, workspace: Path) -> None:
    row = {"step": 7, "epoch": 1.0, "loss": 0.5, "score": 0.8, "accuracy": 0.9, "cats_macro_f": 0.8}
    (workspace / "exclusive" / "training.jsonl").write_text(f"{json.dumps(row)}\n")
    assert run("evaluate", "exclusive", "test.jsonl", "--html", "a.html").exit_code == 0
    assert "Training: loss" in (workspace / "a.html").read_text(encoding="utf8")


def test_labels_are_not_escaped_in_json(run: Run, workspace: Path, write: Write) -> None:
    nlp = spacy.load(workspace / "exclusive")
    nlp.get_pipe("trf_textcat").cfg["labels"] = ["schön", "übel"]
    nlp.to_disk(workspace / "umlauts")
    write(workspace / "umlauts.jsonl", [{"text": "a", "label": label} for label in ("schön",)])
    result = run("evaluate", "umlauts", "umlauts.jsonl", "--json", "-o", "metrics.json")
    assert '"schön"' in result.stdout
    assert '"schön"' in (workspace / "metrics.json").read_text(encoding="utf8")


@pytest.mark.parametrize(("threshold", "recall"), [("0", 1.0), ("1", 0.0)])
def test_threshold_decides_which_labels_are_predicted(
    run: Run, workspace: Path, threshold: str, recall: float
) -> None:
    metrics = metrics_of(run, "multilabel", "test.jsonl", "--threshold", threshold)
    assert metrics["threshold"] == float(threshold)
    assert [each["r"] for each in metrics["cats_f_per_type"].values()] == [recall, recall]


def test_threshold_is_one_half_unless_labels_are_exclusive(run: Run, workspace: Path) -> None:
    assert metrics_of(run, "multilabel", "test.jsonl")["threshold"] == 0.5
    assert metrics_of(run, "exclusive", "test.jsonl")["threshold"] is None
    stdout = run("evaluate", "multilabel", "test.jsonl").stdout
    assert " Decision threshold: 0.5\n" in stdout
    assert "threshold" not in run("evaluate", "exclusive", "test.jsonl").stdout


def test_many_labels_show_the_most_frequent_confusions(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setattr("trfcli.commands.evaluate._MATRIX_LABELS", 1)
    write(workspace / "odd.jsonl", [*TEXTS, {"text": GOOD, "label": "BAD"}])
    lines = run("evaluate", "exclusive", "odd.jsonl").stdout.splitlines()
    start = lines.index(" Most frequent confusions:")
    assert lines[start + 1 : start + 4] == [
        " true label   predicted   texts",
        " BAD          GOOD            1",
        " Most confident mistakes:",
    ]
    assert " Rows: true label. Columns: predicted label." not in lines


def test_batch_size_reaches_the_pipeline_and_changes_no_score(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = evaluation_run.predict_texts

    def spy(*args: Any, **options: Any) -> evaluation_run.PredictionOutput:
        seen.append(options["batch_size"])
        return original(*args, **options)

    monkeypatch.setattr(evaluation_run, "predict_texts", spy)
    whole = metrics_of(run, "exclusive", "test.jsonl")
    single = metrics_of(run, "exclusive", "test.jsonl", "-b", "1")
    assert seen == [spacy.load(workspace / "exclusive").batch_size, 1]
    assert single["cats_macro_auc"] == whole["cats_macro_auc"]
    assert single["ece"] == pytest.approx(whole["ece"], abs=1e-5)


def test_data_from_stdin(run: Run, workspace: Path) -> None:
    content = (workspace / "test.jsonl").read_bytes()
    result = run("evaluate", "exclusive", "-", "--json", input=content)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["n_texts"] == 12


def test_nothing_but_the_output_is_written(run: Run, workspace: Path, digest: Digest) -> None:
    before = digest(workspace)
    assert run("evaluate", "exclusive", "test.jsonl", "-o", "metrics.json").exit_code == 0
    (workspace / "metrics.json").unlink()
    assert digest(workspace) == before


def test_explained_report(run: Run, workspace: Path, write: Write) -> None:
    odd = [{**TEXTS[0], "label": "GOOD"}, *TEXTS[1:]]
    write(workspace / "odd.jsonl", odd)
    args = ["evaluate", "exclusive", "odd.jsonl", "--html", "report.html"]
    assert run(*args).exit_code == 0
    assert "<mark" not in Path("report.html").read_text(encoding="utf8")
    assert run(*args, "--explain").exit_code == 0
    html = Path("report.html").read_text(encoding="utf8")
    assert "The tokens of all mistakes are highlighted" in " ".join(html.split())


def test_explain_needs_a_report(run: Run, workspace: Path) -> None:
    result = run("evaluate", "exclusive", "test.jsonl", "--explain")
    assert result.exit_code == 2
    assert "--explain is for mistakes in the report" in result.stderr
