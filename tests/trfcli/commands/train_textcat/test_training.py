"""Whole trainings."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import spacy
from thinc.api import Config
from train_command import (
    DEV,
    LABELS,
    TEXTS,
    WEIGHTS,
    WORDS,
    Digest,
    Run,
    Write,
    meta_of,
    rows_of,
    training_of,
)


def test_replaces_the_model_and_tells_the_story(run: Run, workspace: Path) -> None:
    before = (workspace / "model" / WEIGHTS).read_bytes()
    (workspace / "model" / "README.md").write_text("my notes\n")
    result = run("train", "model", "train.jsonl", "--epochs", "2", "--batch-size", "8")
    assert result.exit_code == 0
    assert result.stdout == ""

    read, decided, header, first, second, end, following = result.stderr.splitlines()
    assert read == (
        "✔ 22 texts to train on, 2 for dev (held out, stratified 10 %, seed 0, too few to choose "
        "by: the last state is kept); "
        "2 labels, exclusive: BAD 50.0 %, GOOD 50.0 %"
    )
    assert re.fullmatch(
        r"ℹ CPU, \d+ threads?; encoder rate 1e-04, head rate 1e-03, batch 8, 6 steps, warm-up 1; "
        r"sentences together, up to 64 wordpieces, mean length \d+ wordpieces; new classifier, "
        r"first fitted to the encoder as it is",
        decided,
    )
    assert header.split() == ["step", "epoch", "loss", "accuracy", "macro", "F", "words/s"]
    assert [first.split()[:2], second.split()[:2]] == [["3", "1.00"], ["6", "2.00"]]
    assert "←" not in first
    assert second.endswith("  ← kept")
    score = meta_of(workspace / "model")["performance"]["cats_macro_f"]
    assert training_of(workspace / "model")["best_step"] == 6
    assert end.startswith(
        f"✔ Dev macro F {score:.3f} at the end, of too few texts to tell much; saved to "
    )
    assert end.endswith("model (was: pipeline without a text classifier)")
    assert re.fullmatch(r"  Next: trf evaluate \S*model test.jsonl", following)

    nlp = spacy.load(workspace / "model")
    assert nlp.pipe_names[-1] == "trf_textcat"
    assert sum(nlp("I love this film").cats.values()) == pytest.approx(1.0)
    assert (workspace / "model" / WEIGHTS).read_bytes() != before
    assert (workspace / "model" / "README.md").read_text() == "my notes\n"


def test_options_reach_the_saved_pipeline(run: Run, workspace: Path, digest: Digest) -> None:
    before = digest(workspace)
    result = run(
        *("train-textcat", "model", "train.jsonl", "--dev", "dev.jsonl", "--output", "trained"),
        *("--epochs", "1", "--batch-size", "4", "--learn-rate", "2e-5", "--seed", "7"),
        *("--architecture", "softmax_class_vector", "--max-texts", "12", "--eval-every", "2"),
        *("--patience", "5", "--multilabel", "--device", "cpu"),
    )
    assert result.exit_code == 0
    assert "✔ 12 texts to train on, 2 for dev (from dev.jsonl); 2 labels, multi-label" in (
        result.stderr
    )
    assert "encoder rate 2e-05" in result.stderr
    assert "batch 4, 3 steps" in result.stderr
    assert [cells[0] for cells in rows_of(result.stderr)] == ["2", "3"]
    assert re.search(r"saved to \S*trained\n", result.stderr)

    facts = training_of(workspace / "trained")
    expected = {
        "texts": 12,
        "dev_texts": 2,
        "exclusive_classes": False,
        "architecture": "softmax_class_vector",
        "epochs": 1,
        "steps": 3,
        "batch_size": 4,
        "trf_lr": 2e-5,
        "seed": 7,
        "device": "cpu",
    }
    assert {name: facts[name] for name in expected} == expected
    assert facts["data"] == {
        name: hashlib.sha256((workspace / name).read_bytes()).hexdigest()
        for name in ("train.jsonl", "dev.jsonl")
    }
    config = Config().from_disk(workspace / "trained" / "config.cfg")
    assert config["components"]["trf_textcat"]["architecture"] == "softmax_class_vector"
    assert config["components"]["trf_textcat"]["exclusive_classes"] is False
    assert config["training"]["max_epochs"] == 1
    assert config["training"]["batcher"]["size"] == 4
    assert config["training"]["eval_frequency"] == 2
    assert config["training"]["patience"] == 5 * 2
    assert config["training"]["seed"] == 7
    assert config["training"]["optimizer"]["trf_lr"]["initial_rate"] == 2e-5

    shutil.rmtree(workspace / "trained")
    assert digest(workspace) == before


def test_config_is_where_defaults_come_from(run: Run, workspace: Path, fast: str) -> None:
    result = run(
        *("train", "model", "train.jsonl", "-d", "dev.jsonl", "-c", fast, "-n", "1"),
        "--freeze-encoder",
    )
    assert result.exit_code == 0
    assert "head rate 3e-01, batch 8, 3 steps" in result.stderr
    config = Config().from_disk(workspace / "model" / "config.cfg")
    assert config["training"]["dropout"] == 0.0
    assert config["training"]["seed"] == 3
    # An option counts for more than the file.
    assert config["training"]["max_epochs"] == 1


def test_frozen_encoder_stays_and_the_classifier_learns(
    run: Run, workspace: Path, fast: str
) -> None:
    before = (workspace / "model" / WEIGHTS).read_bytes()
    result = run(
        *("train", "model", "train.jsonl", "--dev", "dev.jsonl", "--config", fast),
        *("--freeze-encoder", "--output", "trained"),
    )
    assert result.exit_code == 0
    assert "; encoder frozen, head rate" in result.stderr
    rows = rows_of(result.stderr)
    assert len(rows) == 5
    assert rows[-1][3:5] == ["1.000", "1.000"]
    assert float(rows[-1][2]) < float(rows[0][2])
    assert (workspace / "trained" / WEIGHTS).read_bytes() == before
    assert training_of(workspace / "trained")["trf_lr"] is None
    nlp = spacy.load(workspace / "trained")
    for label, words in WORDS.items():
        assert nlp(" ".join(words)).cats[label] > 0.5


def test_patience_ends_training_that_makes_things_worse(
    run: Run, workspace: Path, fast: str, write: Write
) -> None:
    swapped = dict(zip(LABELS, reversed(LABELS), strict=True))
    write(workspace / "swapped.jsonl", [{**r, "label": swapped[r["label"]]} for r in DEV])
    result = run(
        *("train", "model", "train.jsonl", "--dev", "swapped.jsonl", "--config", fast),
        *("--freeze-encoder", "--epochs", "20", "--eval-every", "1", "--patience", "2"),
    )
    assert result.exit_code == 0
    assert "; ended early, for want of a better score; saved to" in result.stderr
    rows = rows_of(result.stderr)
    best = [number for number, cells in enumerate(rows) if cells[-1] == "best"]
    scores = [float(cells[4]) for cells in rows]
    # Standing still is no rise.
    assert len(rows) == scores.index(max(scores)) + 1 + 2
    assert training_of(workspace / "model")["best_step"] == int(rows[best[-1]][0])


def test_same_seed_same_classifier(run: Run, workspace: Path, fast: str, digest: Digest) -> None:
    # With a dev file, as the seed decides on a split as well.
    options = ["train", "model", "train.jsonl", "-d", "dev.jsonl", "-c", fast, "-n", "2"]
    for name, seed in {"one": "5", "same": "5", "other": "6"}.items():
        result = run(*options, "--freeze-encoder", "--output", name, "--seed", seed)
        assert result.exit_code == 0
    one, same, other = (
        digest(workspace / name / "trf_textcat") for name in ("one", "same", "other")
    )
    assert one == same
    assert one != other


def test_several_labels_are_seen_in_the_data(
    run: Run, workspace: Path, fast: str, write: Write
) -> None:
    write(workspace / "train.jsonl", [*TEXTS, *({"text": "both", "labels": LABELS},) * 3])
    result = run(
        *("train", "model", "train.jsonl", "--dev", "dev.jsonl", "--config", fast, "-n", "1"),
        "--freeze-encoder",
    )
    assert result.exit_code == 0
    assert "; 2 labels, multi-label: BAD " in result.stderr
    assert training_of(workspace / "model")["exclusive_classes"] is False


def test_texts_from_stdin(run: Run, workspace: Path, fast: str) -> None:
    content = (workspace / "train.jsonl").read_bytes()
    result = run(
        *("train", "model", "-", "--config", fast, "-n", "1", "--freeze-encoder"), input=content
    )
    assert result.exit_code == 0
    facts = training_of(workspace / "model")
    assert (facts["texts"], facts["data"]) == (22, {})


def test_remarks_are_warnings_and_stay_with_quiet(
    run: Run, workspace: Path, fast: str, write: Write
) -> None:
    write(workspace / "dev.jsonl", [*DEV, TEXTS[0], {"text": " ", "label": "GOOD"}])
    write(workspace / "train.jsonl", TEXTS[:8])
    result = run(
        *("train", "model", "train.jsonl", "--dev", "dev.jsonl", "--config", fast, "-n", "1"),
        *("--freeze-encoder", "--quiet"),
    )
    assert result.exit_code == 0
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert all(line.startswith("⚠ ") for line in lines)
    overlap, empty, few = lines
    assert overlap.startswith("⚠ 1 of 4 texts in the dev set also occurs in the training set")
    assert empty == "⚠ 1 text in the dev set is empty (first: line 4)"
    assert few == "⚠ 2 labels have fewer than 10 texts in the training set: BAD (4), GOOD (4)"


def test_second_training_continues_or_says_what_it_replaces(
    run: Run, workspace: Path, fast: str
) -> None:
    options = ["--dev", "dev.jsonl", "--config", fast, "--epochs", "1", "--freeze-encoder"]
    assert "; new classifier\n" in run("train", "model", "train.jsonl", *options).stderr
    again = run("train", "model", "train.jsonl", *options).stderr
    assert "; continues with the pipeline's classifier\n" in again
    assert again.splitlines()[-2].endswith("(was: pipeline with a text classifier of 2 labels)")
    other = run("train", "model", "train.jsonl", *options, "--multilabel").stderr
    assert "; new classifier in place of one with other labels or settings\n" in other
