"""Whole training runs."""

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


def test_training_replaces_the_model_and_says_so(run: Run, workspace: Path) -> None:
    before = (workspace / "model" / WEIGHTS).read_bytes()
    (workspace / "model" / "README.md").write_text("my notes\n")
    result = run("train", "model", "train.jsonl", "--epochs", "2", "--batch-size", "8")
    assert result.exit_code == 0
    assert result.stdout == ""

    (read, few, plan, segments, header, first, second, end, following) = result.stderr.splitlines()
    assert read == (
        "✔ 22 texts to train on, 2 held out as the dev set (stratified 10 %, seed 0); "
        "2 labels, exclusive: BAD 50.0 %, GOOD 50.0 %"
    )
    assert few == (
        "ℹ Fewer than 20 dev texts are too few to choose a checkpoint by: the final model will be "
        "kept (--dev)"
    )
    assert re.fullmatch(
        r"ℹ (CPU|CUDA), \d+ threads?; learning rate 1e-4 for the encoder, 1e-3 for the classifier; "
        r"batch size 8, 6 steps, 1 of them warm-up",
        plan,
    )
    assert re.fullmatch(
        r"ℹ Encoder input: windows of up to 64 wordpieces; \d+ wordpieces per text on average; "
        r"new classifier, initialized by a linear probe",
        segments,
    )
    assert header.split() == ["step", "epoch", "loss", "accuracy", "macro", "F", "words/s"]
    assert [first.split()[:2], second.split()[:2]] == [["3", "1.00"], ["6", "2.00"]]
    assert "←" not in first
    assert second.endswith("  ← kept")
    score = meta_of(workspace / "model")["performance"]["cats_macro_f"]
    assert training_of(workspace / "model")["best_step"] == 6
    assert end.startswith(
        f"✔ Kept the final model (macro F {score:.3f}); the dev set is too small to choose "
        "another. Saved to "
    )
    assert end.endswith("model, replacing a pipeline without a text classifier")
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
    shown = "✔ 12 of 24 texts (--max-texts) to train on, 2 in the dev set (dev.jsonl); 2 labels, "
    assert f"{shown}at most one per text: " in result.stderr
    assert "learning rate 2e-5 for the encoder" in result.stderr
    assert "batch size 4, 3 steps" in result.stderr
    assert [cells[0] for cells in rows_of(result.stderr)] == ["2", "3"]
    assert re.search(r"Saved to \S*trained\n", result.stderr)

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
    assert facts["chosen"] == {
        "exclusive": False,
        "architecture": "softmax_class_vector",
        "max_texts": 12,
        "epochs": 1,
        "batch_size": 4,
        "learn_rate": 2e-5,
        "patience": 5,
        "eval_every": 2,
        "seed": 7,
        "device": "cpu",
    }
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


def test_config_replaces_the_defaults(run: Run, workspace: Path, fast: str) -> None:
    result = run(
        *("train", "model", "train.jsonl", "-d", "dev.jsonl", "-c", fast, "-n", "1"),
        "--freeze-encoder",
    )
    assert result.exit_code == 0
    assert "learning rate 3e-1 for the classifier; batch size 8, 3 steps" in result.stderr
    config = Config().from_disk(workspace / "model" / "config.cfg")
    assert config["training"]["dropout"] == 0.0
    assert config["training"]["seed"] == 3
    # Options take precedence over the file.
    assert config["training"]["max_epochs"] == 1


def test_frozen_encoder_does_not_change_and_the_classifier_learns(
    run: Run, workspace: Path, fast: str
) -> None:
    before = (workspace / "model" / WEIGHTS).read_bytes()
    result = run(
        *("train", "model", "train.jsonl", "--dev", "dev.jsonl", "--config", fast),
        *("--freeze-encoder", "--output", "trained"),
    )
    assert result.exit_code == 0
    assert "; encoder frozen, learning rate" in result.stderr
    rows = rows_of(result.stderr)
    assert len(rows) == 5
    assert rows[-1][3:5] == ["1.000", "1.000"]
    assert float(rows[-1][2]) < float(rows[0][2])
    assert (workspace / "trained" / WEIGHTS).read_bytes() == before
    assert training_of(workspace / "trained")["trf_lr"] is None
    nlp = spacy.load(workspace / "trained")
    for label, words in WORDS.items():
        assert nlp(" ".join(words)).cats[label] > 0.5


def test_patience_stops_training_that_makes_scores_worse(
    run: Run, workspace: Path, fast: str, write: Write
) -> None:
    swapped = dict(zip(LABELS, reversed(LABELS), strict=True))
    write(workspace / "swapped.jsonl", [{**r, "label": swapped[r["label"]]} for r in DEV])
    result = run(
        *("train", "model", "train.jsonl", "--dev", "swapped.jsonl", "--config", fast),
        *("--freeze-encoder", "--epochs", "20", "--eval-every", "1", "--patience", "2"),
    )
    assert result.exit_code == 0
    assert "ℹ Stopped early: no improvement for 2 evaluations (--patience)" in result.stderr
    rows = rows_of(result.stderr)
    best = [number for number, cells in enumerate(rows) if cells[-1] == "best"]
    scores = [float(cells[4]) for cells in rows]
    # Equal scores are no improvement.
    assert len(rows) == scores.index(max(scores)) + 1 + 2
    assert training_of(workspace / "model")["best_step"] == int(rows[best[-1]][0])


def test_same_seed_gives_the_same_classifier(
    run: Run, workspace: Path, fast: str, digest: Digest
) -> None:
    # With a dev file, because a split would depend on the seed.
    options = ["train", "model", "train.jsonl", "-d", "dev.jsonl", "-c", fast, "-n", "2"]
    for name, seed in {"one": "5", "same": "5", "other": "6"}.items():
        result = run(*options, "--freeze-encoder", "--output", name, "--seed", seed)
        assert result.exit_code == 0
    one, same, other = (
        digest(workspace / name / "trf_textcat") for name in ("one", "same", "other")
    )
    assert one == same
    assert one != other


def test_multi_label_data_is_recognized(run: Run, workspace: Path, fast: str, write: Write) -> None:
    write(workspace / "train.jsonl", [*TEXTS, *({"text": "both", "labels": LABELS},) * 3])
    result = run(
        *("train", "model", "train.jsonl", "--dev", "dev.jsonl", "--config", fast, "-n", "1"),
        "--freeze-encoder",
    )
    assert result.exit_code == 0
    assert "; 2 labels, several per text: BAD on 55.6 % of texts, GOOD on 55.6 %\n" in (
        result.stderr
    )
    assert training_of(workspace / "model")["exclusive_classes"] is False


def test_texts_are_read_from_stdin(run: Run, workspace: Path, fast: str) -> None:
    content = (workspace / "train.jsonl").read_bytes()
    result = run(
        *("train", "model", "-", "--config", fast, "-n", "1", "--freeze-encoder"), input=content
    )
    assert result.exit_code == 0
    facts = training_of(workspace / "model")
    assert (facts["texts"], facts["data"]) == (22, {})


def test_warnings_about_the_data_are_shown_with_quiet(
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


def test_second_training_continues_or_names_what_it_replaces(
    run: Run, workspace: Path, fast: str
) -> None:
    options = ["--dev", "dev.jsonl", "--config", fast, "--epochs", "1", "--freeze-encoder"]
    started = run("train", "model", "train.jsonl", *options).stderr
    assert "; new classifier, initialized by a linear probe\n" in started
    again = run("train", "model", "train.jsonl", *options).stderr
    assert "; training the existing classifier further\n" in again
    assert again.splitlines()[-2].endswith(
        ", replacing a pipeline with a text classifier of 2 labels"
    )
    other = run("train", "model", "train.jsonl", *options, "--multilabel").stderr
    assert "; new classifier, replacing one with other settings, initialized by" in other


def test_overrides_reach_the_saved_pipeline(run: Run, workspace: Path) -> None:
    overrides = {
        "training.optimizer.trf_lr": 1e-5,
        "training.optimizer.trf_layer_decay": 0.5,
        "components.trf_textcat.focal_gamma": 1.5,
    }
    options = [f"--{key}={value}" for key, value in overrides.items()]
    result = run("train", "model", "train.jsonl", "--epochs", "1", *options)
    assert result.exit_code == 0
    assert "learning rate 1e-5 for the encoder" in result.stderr
    assert "layer decay 0.5" in result.stderr
    config = Config().from_disk(workspace / "model" / "config.cfg")
    assert config["training"]["optimizer"]["trf_lr"] == 1e-5
    assert config["training"]["optimizer"]["trf_layer_decay"] == 0.5
    assert config["components"]["trf_textcat"]["focal_gamma"] == 1.5
    facts = training_of(workspace / "model")
    assert facts["overrides"] == overrides
    assert facts["chosen"] == {"epochs": 1, **overrides}


def test_config_is_printed_for_a_later_training(run: Run, workspace: Path, digest: Digest) -> None:
    before = digest(workspace)
    result = run("train", "model", "train.jsonl", "--seed", "7", "--lora", "2", "--print-config")
    assert result.exit_code == 0
    config = Config().from_str(result.stdout)
    assert (config["system"]["seed"], config["trf"]["lora"]) == (7, 2)
    assert config["training"]["batcher"]["size"] == 16
    assert "Fewer than 500 texts: batch size 16" in result.stderr
    assert digest(workspace) == before


def test_only_a_config_can_be_printed_without_texts(run: Run, workspace: Path) -> None:
    assert run("train", "model", "--print-config").stdout.startswith("[paths]\n")
    result = run("train", "model")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "✘ TRAIN is missing"
