import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
import spacy
from thinc.api import Config
from typer.testing import Result

from trfcli.commands.evaluate import answer
from trfcli_pipeline.evaluation.scores import Evaluation, Mistake
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training import train_textcat
from trfcli_pipeline.training.config import TrainingArguments, config_path

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]
Digest = Callable[[Path], str]
Write = Callable[[Path, Iterable[Any]], Path]

WORDS = {"BAD": ("terrible", "bore", "hate", "dog"), "GOOD": ("great", "fun", "love", "film")}
# Texts of a label differ in case only, which the tiny encoder doesn't see: whatever its random
# weights, there are two points to tell apart.
TEXTS = [
    {
        "text": " ".join(change(word) for change, word in zip(changes, words, strict=True)),
        "label": label,
    }
    for changes in islice(product((str.lower, str.upper), repeat=4), 6)
    for label, words in WORDS.items()
]
GOOD = TEXTS[1]["text"]
CONTROLS = "\x1b" * 20
# What reference-api.md promises, beside spaCy's own names of scores.
SPACY_SCORES = {
    *("cats_score", "cats_score_desc", "cats_micro_p", "cats_micro_r", "cats_micro_f"),
    *("cats_macro_p", "cats_macro_r", "cats_macro_f", "cats_macro_auc"),
    *("cats_f_per_type", "cats_auc_per_type"),
}
OWN_SCORES = {
    *("accuracy", "speed", "n_texts", "weighted_p", "weighted_r", "weighted_f", "mcc", "ece"),
    *("macro_auc", "macro_average_precision", "average_precision_per_type", "intervals"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, write: Write) -> Path:
    """A directory with three pipelines: without a classifier, exclusive, and multi-label."""
    path = tmp_path_factory.mktemp("models")
    config = Config().from_disk(config_path("textcat.cfg"), interpolate=False)
    config["training"]["optimizer"]["learn_rate"]["initial_rate"] = 0.3
    config["training"]["dropout"] = 0.0
    config.to_disk(path / "fast.cfg")
    data = write(path / "data.jsonl", TEXTS)
    init_model(str(tiny_bert), path / "plain")
    for name, exclusive in (("exclusive", True), ("multilabel", False)):
        settings = TrainingArguments(
            config=path / "fast.cfg",
            exclusive=exclusive,
            freeze_encoder=True,
            epochs=6,
            batch_size=4,
        )
        for _ in train_textcat(
            str(path / "plain"), str(data), dev=str(data), output=path / name, settings=settings
        ):
            pass
    return path


@pytest.fixture
def workspace(
    tmp_path: Path, models: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> Path:
    """The current directory, with the pipelines, data, and what is neither."""
    for name in ("plain", "exclusive", "multilabel"):
        shutil.copytree(models / name, tmp_path / name)
    (tmp_path / "tiny-bert").symlink_to(tiny_bert)
    write(tmp_path / "test.jsonl", TEXTS)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metrics_of(run: Run, *args: str) -> dict[str, Any]:
    result = run("evaluate", *args, "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    metrics: dict[str, Any] = json.loads(result.stdout)
    return metrics


def test_table_without_mistakes(run: Run, workspace: Path) -> None:
    result = run("evaluate", "exclusive", "test.jsonl")
    assert result.exit_code == 0
    assert result.stderr == ""
    first, second, third, *tables = result.stdout.splitlines()
    assert first.startswith(" 12 texts, 48 words, ")
    assert first.endswith(" words/s")
    assert second == (
        " accuracy 1.000 (95 % interval 1.000 to 1.000)    macro F 1.000 (1.000 to 1.000)"
    )
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
        "           predicted BAD   predicted GOOD",
        " is BAD                6                0",
        " is GOOD               0                6",
    ]


def test_mistakes_are_named_by_line_and_counted(run: Run, workspace: Path, write: Write) -> None:
    # Lines without a record count too, so that an editor finds the text.
    write(
        workspace / "odd.jsonl",
        ["", *TEXTS, {"text": f"{GOOD}\n{CONTROLS}", "label": "BAD"}],
    )
    result = run("evaluate", "exclusive", "odd.jsonl")
    assert result.exit_code == 0
    *_, is_bad, is_good, title, mistake = result.stdout.splitlines()
    assert is_bad.split() == ["is", "BAD", "6", "1"]
    assert is_good.split() == ["is", "GOOD", "0", "6"]
    assert title == " Surest mistakes:"
    shown = f"{GOOD} {CONTROLS}".replace("\x1b", r"\x1b")[:59]
    assert mistake.startswith(f'  line 14 "{shown}…" is BAD, said GOOD ')
    assert "\x1b" not in result.stdout


def test_surest_and_least_sure_mistakes(run: Run, workspace: Path, write: Write) -> None:
    flipped = {"BAD": "GOOD", "GOOD": "BAD"}
    write(workspace / "flipped.jsonl", [{**r, "label": flipped[r["label"]]} for r in TEXTS])
    lines = run("evaluate", "exclusive", "flipped.jsonl").stdout.splitlines()
    surest, least_sure = lines.index(" Surest mistakes:"), lines.index(" Least sure mistakes:")
    assert (least_sure - surest, len(lines) - least_sure) == (4, 4)
    shown = lines[surest + 1 : least_sure] + lines[least_sure + 1 :][::-1]
    scores = [float(line.rpartition(" ")[2]) for line in shown]
    assert scores == sorted(scores, reverse=True)
    assert len(set(shown)) == 6


def test_answer_names_the_decision_that_its_score_is_about() -> None:
    mistake = Mistake(0, gold=("A",), predicted=("A", "B"), label="B", score=0.756)
    assert answer(mistake) == "A + B (B 0.76)"
    assert answer(replace(mistake, predicted=("B",))) == "B 0.76"
    assert answer(replace(mistake, predicted=(), label="A", score=0.4)) == "none (A 0.40)"


def test_auc_is_not_made_up_for_a_single_label(run: Run, workspace: Path, write: Write) -> None:
    write(workspace / "one.jsonl", [record for record in TEXTS if record["label"] == "GOOD"])
    assert "macro AUC not defined" in run("evaluate", "exclusive", "one.jsonl").stdout


def test_multilabel_table_has_no_confusion_matrix(run: Run, workspace: Path, write: Write) -> None:
    write(workspace / "none.jsonl", [*TEXTS, {"text": GOOD, "labels": []}])
    result = run("evaluate", "multilabel", "none.jsonl")
    assert result.exit_code == 0
    assert " GOOD " in result.stdout
    assert "    micro F 0." in result.stdout
    assert "predicted" not in result.stdout
    assert f'line 13 "{GOOD}" is none, said GOOD ' in result.stdout


def test_json_has_the_documented_keys(run: Run, workspace: Path) -> None:
    metrics = metrics_of(run, "exclusive", "test.jsonl")
    assert metrics.keys() >= SPACY_SCORES | OWN_SCORES
    assert metrics["accuracy"] == metrics["cats_score"] == metrics["cats_macro_f"] == 1.0
    assert metrics["cats_f_per_type"].keys() == {"BAD", "GOOD"}
    assert metrics["n_texts"] == 12
    assert metrics["speed"] > 0
    assert metrics["confusion_matrix"] == [[6, 0], [0, 6]]


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


def test_file_beside_the_table(run: Run, workspace: Path) -> None:
    result = run("evaluate", "exclusive", "test.jsonl", "--output", "metrics.json", "--quiet")
    assert result.exit_code == 0
    assert " accuracy 1.000 " in result.stdout
    assert result.stderr == ""
    assert json.loads((workspace / "metrics.json").read_text())["accuracy"] == 1.0


def test_report(run: Run, workspace: Path, write: Write) -> None:
    write(workspace / "odd.jsonl", [*TEXTS, {"text": GOOD, "label": "BAD"}])
    (workspace / "report.html").write_text("old")
    result = run("evaluate", "exclusive", "odd.jsonl", "--html", "report.html")
    assert result.exit_code == 0
    assert result.stderr == "✔ Wrote report.html\n"
    html = (workspace / "report.html").read_text(encoding="utf8")
    assert html.startswith("<!DOCTYPE html>")
    assert "13 texts of <b>odd.jsonl</b>, with the model <b>exclusive</b>" in html
    assert f'<td data-name="Line">13</td><td class="text">{GOOD}</td>' in html
    assert not list(workspace.glob(".report*"))


def test_report_shows_how_the_model_was_trained(run: Run, workspace: Path) -> None:
    row = {"step": 7, "epoch": 1.0, "loss": 0.5, "score": 0.8, "accuracy": 0.9, "cats_macro_f": 0.8}
    (workspace / "exclusive" / "training.jsonl").write_text(f"{json.dumps(row)}\n")
    assert run("evaluate", "exclusive", "test.jsonl", "--html", "a.html").exit_code == 0
    assert "Learning: loss" in (workspace / "a.html").read_text(encoding="utf8")


def test_labels_are_written_as_they_are(run: Run, workspace: Path, write: Write) -> None:
    nlp = spacy.load(workspace / "exclusive")
    nlp.get_pipe("trf_textcat").cfg["labels"] = ["schön", "übel"]
    nlp.to_disk(workspace / "umlauts")
    write(workspace / "umlauts.jsonl", [{"text": "a", "label": label} for label in ("schön",)])
    result = run("evaluate", "umlauts", "umlauts.jsonl", "--json", "-o", "metrics.json")
    assert '"schön"' in result.stdout
    assert '"schön"' in (workspace / "metrics.json").read_text(encoding="utf8")


@pytest.mark.parametrize(("threshold", "recall"), [("0", 1.0), ("1", 0.0)])
def test_threshold_decides_which_labels_hold(
    run: Run, workspace: Path, threshold: str, recall: float
) -> None:
    metrics = metrics_of(run, "multilabel", "test.jsonl", "--threshold", threshold)
    assert metrics["threshold"] == float(threshold)
    assert [each["r"] for each in metrics["cats_f_per_type"].values()] == [recall, recall]


def test_threshold_is_one_half_unless_labels_are_exclusive(run: Run, workspace: Path) -> None:
    assert metrics_of(run, "multilabel", "test.jsonl")["threshold"] == 0.5
    assert metrics_of(run, "exclusive", "test.jsonl")["threshold"] is None
    stdout = run("evaluate", "multilabel", "test.jsonl").stdout
    assert " A label holds from a score of 0.5 on.\n" in stdout
    assert "A label holds" not in run("evaluate", "exclusive", "test.jsonl").stdout


def test_many_labels_show_the_most_frequent_confusions(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setattr("trfcli.commands.evaluate._MATRIX_LABELS", 1)
    write(workspace / "odd.jsonl", [*TEXTS, {"text": GOOD, "label": "BAD"}])
    lines = run("evaluate", "exclusive", "odd.jsonl").stdout.splitlines()
    start = lines.index(" Most frequent confusions:")
    assert lines[start + 1 : start + 4] == [
        " is    predicted   texts",
        " BAD   GOOD            1",
        " Surest mistakes:",
    ]
    assert not any("predicted BAD" in line for line in lines)


def test_batch_size_reaches_the_pipeline_and_changes_no_score(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trfcli_pipeline.evaluation import classifier

    seen = []
    original = classifier.evaluate

    def spy(*args: Any, **options: Any) -> Evaluation:
        seen.append(options["batch_size"])
        return original(*args, **options)

    monkeypatch.setattr(classifier, "evaluate", spy)
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


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        (["nowhere", "test.jsonl"], "nowhere: there is no such directory", "trf init"),
        (["test.jsonl", "test.jsonl"], "test.jsonl: is a file, not a pipeline", None),
        (["folder", "test.jsonl"], "folder: is no spaCy pipeline", "trf init minilm"),
        (["tiny-bert", "test.jsonl"], "tiny-bert: is no spaCy pipeline", "trf init tiny-bert"),
        (["plain", "test.jsonl"], "en_trf_tinybert has no text classifier", "trf train-textcat"),
        (["exclusive", "tset.jsonl"], "tset.jsonl: no such file", "Did you mean test.jsonl?"),
        (["exclusive", "folder"], "folder: a directory, not a file", "file"),
        (["exclusive", "empty.jsonl"], "empty.jsonl: no records", "A record is"),
        (["exclusive", "folder/notes.txt"], "folder/notes.txt: a .txt file has no lab", ".jsonl"),
        (["exclusive", "test.jsonl", "--device", "warp"], "warp: not a device", "cpu"),
        (["exclusive", "test.jsonl", "-o", "folder"], "folder: a directory, not a file", "file"),
        (["exclusive", "test.jsonl", "-o", "no/m.json"], "no: there is no such directory", None),
        (["exclusive", "test.jsonl", "--html", "folder"], "folder: a directory, not a", "file"),
        (["exclusive", "test.jsonl", "--html", "no/r.html"], "no: there is no such dir", None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_and_changes_nothing(
    workspace: Path, args: list[str], problem: str, advice: str | None, check_failure: CheckFailure
) -> None:
    check_failure(["evaluate", *args], problem, advice)


@pytest.mark.parametrize(
    ("records", "problem", "advice"),
    [
        ([*TEXTS[:2], '{"text": "a", "label"'], "data.jsonl, line 3: not valid JSON", "Each line"),
        (["{}", *TEXTS, "oops"], "data.jsonl, line 1: ", "2 of 14 records"),
        ([*TEXTS, {"text": "a", "lable": "BAD"}], "data.jsonl, line 13: no labels", '"label"'),
        ([{"text": 3, "label": "BAD"}], 'data.jsonl, line 1: "text" is a number', "quotes"),
        (
            ["", *TEXTS, {"text": "a", "label": "NEW"}],
            "data.jsonl: 1 label is not among the model's: NEW (line 14)",
            "Known are BAD, GOOD",
        ),
        (
            [TEXTS[0], {"text": "a", "labels": ["BAD", "GOOD"]}],
            "data.jsonl: 1 text has more than one label",
            "--multilabel",
        ),
    ],
    ids=["broken", "count", "key", "text", "label", "several"],
)
def test_bad_record_is_named_and_changes_nothing(
    workspace: Path,
    records: list[dict[str, Any] | str],
    problem: str,
    advice: str | None,
    check_failure: CheckFailure,
    write: Write,
) -> None:
    write(workspace / "data.jsonl", records)
    args = ["exclusive", "data.jsonl", "--json", "-o", "metrics.json"]
    check_failure(["evaluate", *args], problem, advice)


def test_output_is_checked_before_the_work(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trfcli_pipeline.evaluation import classifier

    def evaluate(*args: Any, **options: Any) -> Evaluation:
        raise AssertionError("the pipeline ran")

    monkeypatch.setattr(classifier, "evaluate", evaluate)
    for option in ("-o", "--html"):
        result = run("evaluate", "exclusive", "test.jsonl", option, "folder")
        assert result.stderr.startswith("✘ folder: a directory, not a file\n")
    (workspace / "exclusive" / "training.jsonl").write_text("{\n")
    result = run("evaluate", "exclusive", "test.jsonl", "--html", "report.html")
    assert result.stderr == "✘ exclusive/training.jsonl, line 1: not valid JSON\n"
    assert not (workspace / "report.html").exists()


@pytest.mark.parametrize(
    "args",
    [
        ["exclusive"],
        ["exclusive", "test.jsonl", "--nonsense"],
        ["exclusive", "test.jsonl", "--threshold", "2"],
        ["exclusive", "test.jsonl", "--threshold", "-0.1"],
        ["exclusive", "test.jsonl", "--threshold", "nan"],
        ["exclusive", "test.jsonl", "--batch-size", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(run: Run, workspace: Path, args: list[str]) -> None:
    result = run("evaluate", *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage: trf evaluate" in result.stderr
