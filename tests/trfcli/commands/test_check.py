import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training import fine_tuned_folds
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.train import train_textcat

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]
WORDS = {"BAD": ("terrible", "bore", "hate", "dog"), "GOOD": ("great", "fun", "love", "film")}
# Texts of two labels with words of their own, a wrong label, and a copy that has another label.
ROWS: list[dict[str, Any]] = [
    {
        "text": " ".join(words[(number + step) % 4] for step in range(3)) + f" {number}",
        "label": label,
    }
    for number in range(16)
    for label, words in WORDS.items()
]
ROWS[5]["label"] = "BAD"
ROWS.append({**ROWS[0], "text": f"{ROWS[0]['text']}!", "label": "GOOD"})
KEYS = ["text", "label", "given", "suggested", "reason", "doubt", "nearest", "file", "line"]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf8")


@pytest.fixture
def workspace(tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("encoder").symlink_to(tiny_bert)
    write(Path("train.jsonl"), ROWS)
    write(Path("test.jsonl"), [*ROWS[:2], {"text": "Zürich's cafés reopened", "label": "GOOD"}])
    return tmp_path


@pytest.mark.usefixtures("workspace")
def test_counts_come_first_and_what_to_do_last(run: Run) -> None:
    result = run("check", "train.jsonl", "--model", "encoder", "--against", "test.jsonl")
    assert result.exit_code == 0, result.output
    first, second, title, error, *_ = result.stdout.splitlines()
    assert re.match(r" 33 texts, 2 labels    label errors: about \d+ \(95% CI \d+ to \d+\)", first)
    assert "copies with different labels" in second
    assert "also in the other file" in second
    assert title == " Labels that are probably wrong:"
    assert re.match(r'  line \d+ ".+" is \w+, probably \w+ \(\d+ %\)', error)
    assert "Also in the other file:" in result.stdout
    assert result.stderr.splitlines()[-1] == (
        "  Next: trf check train.jsonl --output corrections.jsonl --html check.html"
    )


@pytest.mark.usefixtures("workspace")
def test_number_limits_what_is_shown(run: Run) -> None:
    result = run("check", "train.jsonl", "--model", "encoder", "--number", "0")
    assert len(result.stdout.splitlines()) == 2


@pytest.mark.usefixtures("workspace")
def test_files_are_written_and_replaced_but_nothing_else(run: Run) -> None:
    args = ("check", "train.jsonl", "--model", "encoder", "-o", "c.jsonl", "--html", "c.html")
    result = run(*args)
    assert result.exit_code == 0, result.output
    assert "Next: trf train MODEL train.jsonl --corrections c.jsonl" in result.stderr
    lines = Path("c.jsonl").read_text(encoding="utf8")
    rows = [json.loads(line) for line in lines.splitlines()]
    assert all(list(row) == KEYS for row in rows)
    assert all(row["label"] == row["given"] for row in rows)
    # Whatever the features of a random encoder, copies that disagree are listed.
    assert {row["line"] for row in rows} & {1, 33}
    page = Path("c.html").read_bytes()
    assert run(*args).exit_code == 0
    assert Path("c.html").read_bytes() == page
    assert Path("c.jsonl").read_text(encoding="utf8") == lines
    Path("c.jsonl").write_text('{"text": "mine"}\n')
    assert run(*args).exit_code == 1


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("decision", ["GOOD", "BAD", None, ["no label"]])
def test_corrections_of_a_person_are_not_replaced(run: Run, decision: Any) -> None:
    args = ("check", "train.jsonl", "--model", "encoder", "-o", "c.jsonl")
    assert run(*args).exit_code == 0
    rows = [json.loads(line) for line in Path("c.jsonl").read_text().splitlines()]
    is_change = rows[-1]["given"] != decision
    rows[-1]["label"] = decision
    write(Path("c.jsonl"), rows)
    edited = Path("c.jsonl").read_bytes()
    result = run(*args)
    assert result.exit_code == int(is_change)
    assert ("✘ c.jsonl: already has corrections\n" in result.stderr) == is_change
    assert ("trf train MODEL DATA --corrections FILE" in result.stderr) == is_change
    assert Path("c.jsonl").read_bytes() == edited


@pytest.mark.usefixtures("workspace")
def test_json_has_everything(run: Run) -> None:
    result = run("check", "train.jsonl", "-m", "encoder", "--against", "test.jsonl", "--json")
    found = json.loads(result.stdout)
    assert found["texts"] == 33
    assert found["labels"] == ["BAD", "GOOD"]
    low, high = found["label_errors"]["interval"]
    assert low <= found["label_errors"]["number"] <= high
    copies = {(pair["place"], pair["copy_place"], pair["kind"]) for pair in found["disagreements"]}
    assert ("line 1", "line 33", "alike") in copies
    assert {leak["place"] for leak in found["leaks"]} >= {"line 1", "line 2"}


@pytest.mark.usefixtures("workspace")
def test_several_labels_per_text(run: Run) -> None:
    rows = [{"text": row["text"], "labels": [row["label"], "ANY"]} for row in ROWS]
    rows[3]["labels"] = []
    write(Path("several.jsonl"), rows)
    result = run("check", "several.jsonl", "-m", "encoder", "-o", "c.jsonl", "--html", "c.html")
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in Path("c.jsonl").read_text().splitlines()]
    assert all(row["labels"] == row["given"] and "label" not in row for row in found)


@pytest.mark.usefixtures("workspace")
def test_empty_texts_are_only_remarked(run: Run) -> None:
    blank = [{"text": text, "label": label} for text in ("", " \n") for label in WORDS]
    write(Path("blank.jsonl"), [*blank, *ROWS])
    result = run("check", "blank.jsonl", "-m", "encoder", "--against", "blank.jsonl", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["texts"] == 33
    listed = [*found["doubtful"], *found["disagreements"], *found["leaks"], *found["outliers"]]
    assert listed
    assert all(each["text"].strip() for each in listed)
    assert "4 texts in the data are empty (first: line 1)" in found["remarks"]
    assert not any("lines 1 and" in remark for remark in found["remarks"])


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("has_copy", [False, True])
def test_label_with_one_text_is_not_doubted(run: Run, has_copy: bool) -> None:
    rows = [{"text": row["text"], "labels": [row["label"]]} for row in ROWS]
    rows[2]["labels"] += ["ONCE"]
    if has_copy:
        rows.append({**rows[2], "text": f"{rows[2]['text']}!"})
    write(Path("once.jsonl"), rows)
    result = run("check", "once.jsonl", "-m", "encoder", "--json")
    found = json.loads(result.stdout)
    assert not any("ONCE" in set(row["given"]) - set(row["suggested"]) for row in found["doubtful"])
    remark = "1 label isn't checked, because too few different texts have it: ONCE"
    assert remark in found["remarks"]


@pytest.mark.usefixtures("workspace")
def test_nothing_is_praised_that_was_not_checked(run: Run) -> None:
    rows = [{"text": f"{row['text']}!", "label": f"L{n}"} for n, row in enumerate(ROWS[:20])]
    write(Path("once.jsonl"), [*rows, *rows])
    result = run("check", "once.jsonl", "-m", "encoder", "--html", "c.html")
    assert result.exit_code == 0, result.output
    assert "20 labels aren't checked, because too few different texts have each" in result.stderr
    assert "✔ No label" not in result.stderr
    assert "    label errors: unknown    to look at: 0" in result.stdout
    found = json.loads(run("check", "once.jsonl", "-m", "encoder", "--json").stdout)
    assert found["label_errors"] is None
    assert found["unchecked"] == sorted(f"L{n}" for n in range(20))
    # All texts of a random encoder are near-copies.
    sentence = "No label is clearly wrong, but see the near-copies with other labels"
    assert f"ℹ {sentence}\n" in result.stderr
    assert " pairs of near-copies with different labels" in result.stdout
    assert "Near-copies with different labels:" in result.stdout
    assert f"<p>{sentence}.</p>" in Path("c.html").read_text()


@pytest.mark.usefixtures("workspace")
def test_copies_of_labels_that_are_not_judged_are_not_called_wrong(run: Run) -> None:
    texts = "ham and eggs", "two free prizes", "spam again"
    lines = [
        json.dumps({"text": f"{text} {number}{end}", "label": f"L{number}{text}{end}"})
        for text in texts
        for number in range(5)
        for end in ("", ".")
    ]
    Path("pairs.jsonl").write_text("\n".join(lines * 2))
    result = run("check", "pairs.jsonl", "-m", "encoder")
    assert "label errors: unknown" in result.stdout
    assert "opies with different labels:" in result.stdout
    assert "probably wrong" not in result.stdout
    assert "(0 %)" not in result.stdout


@pytest.mark.usefixtures("workspace")
def test_fine_tuned_predictions(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = partial(TrainingArguments, epochs=1, linear_probe=False)
    monkeypatch.setattr(fine_tuned_folds, "TrainingArguments", quick)
    result = run("check", "train.jsonl", "-m", "encoder", "--finetune", "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["texts"] == 33


@pytest.mark.usefixtures("workspace")
def test_encoder_that_was_trained_on_the_texts_is_a_warning(run: Run) -> None:
    init_model("encoder", Path("model"), lang="xx")
    arguments = TrainingArguments(epochs=1, device="cpu", exclusive=True)
    for _ in train_textcat("model", "train.jsonl", dev="test.jsonl", arguments=arguments):
        pass
    result = run("check", "train.jsonl", "--model", "model")
    assert "⚠ model was trained on these texts" in result.stderr
    assert "⚠ model" not in run("check", "test.jsonl", "--model", "model").stderr


def test_stdin_is_called_by_its_name(run: Run, workspace: Path) -> None:
    line = json.dumps(ROWS[0])
    assert "✘ stdin: 1 text, too few" in run("check", "-", "-m", "encoder", input=line).stderr
    lines = (workspace / "train.jsonl").read_text()
    result = run("check", "-", "-m", "encoder", input=lines)
    assert "Next: trf check - --output" in result.stderr


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        (["none.jsonl"], "none.jsonl", ""),
        (["*.none"], "*.none: no file matches", "relative to the current directory"),
        (["train.jsonl", "--model", "./none"], "./none: there is no such directory", ""),
        (["one.jsonl", "-m", "encoder"], "one.jsonl: 1 text, too few", "at least 20"),
        (["few.jsonl", "-m", "encoder"], "few.jsonl: 3 texts, too few", "at least 20"),
        (["same.jsonl", "-m", "encoder"], "all texts have the same label, A", "two labels"),
        (["each.jsonl", "-m", "encoder"], "each label has only one text", "the same label"),
        (["train.jsonl", "-m", "encoder", "-o", "train.jsonl"], "is the input", "another file"),
        (["train.jsonl", "-m", "encoder", "-o", "test.jsonl"], "already exists", "another file"),
        (["train.jsonl", "--against", "none.jsonl"], "none.jsonl", ""),
        (["train.jsonl", "-o", "c", "--html", "c"], "two outputs", "another file"),
    ],
)
def test_input_that_cannot_be_used(
    args: list[str],
    problem: str,
    advice: str | None,
    workspace: Path,
    check_failure: CheckFailure,
) -> None:
    write(workspace / "one.jsonl", ROWS[:1])
    write(workspace / "few.jsonl", ROWS[:3])
    write(workspace / "same.jsonl", [{"text": f"text {n}", "label": "A"} for n in range(30)])
    write(workspace / "each.jsonl", [{"text": f"text {n}", "label": f"L{n}"} for n in range(30)])
    check_failure(["check", *args], problem, advice)
