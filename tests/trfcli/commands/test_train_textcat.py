import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice, permutations
from pathlib import Path
from threading import Timer
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
from thinc.api import Config
from typer.testing import Result

from trfcli_pipeline import training
from trfcli_pipeline.pipelines import init_pipeline
from trfcli_pipeline.training import Evaluated, Event, Finished, Planned, Stepped, recipe
from trfcli_pipeline.training.recipe import Settings

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]
Digest = Callable[[Path], str]
Write = Callable[[Path, Iterable[Any]], Path]

WORDS = {"BAD": ("terrible", "bore", "hate", "dog"), "GOOD": ("great", "fun", "love", "film")}
LABELS = list(WORDS)
# Texts of a label differ in the order of their words only: for any random weights of the encoder,
# there are two clouds to tell apart.
VARIANTS = [
    {"text": " ".join(words), "label": label}
    for orders in islice(zip(*map(permutations, WORDS.values()), strict=True), 16)
    for label, words in zip(WORDS, orders, strict=True)
]
TEXTS, DEV = VARIANTS[:24], VARIANTS[-2:]
WEIGHTS = Path("trf_tok2vec", "model", "model.safetensors")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "model"
    init_pipeline(str(tiny_bert), path)
    return path


@pytest.fixture
def workspace(
    tmp_path: Path, model: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> Path:
    """The current directory, with a pipeline, data, and what is neither."""
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "tiny-bert").symlink_to(tiny_bert)
    write(tmp_path / "train.jsonl", TEXTS)
    write(tmp_path / "dev.jsonl", DEV)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fast(workspace: Path) -> str:
    """A config with which the classifier learns within a few steps, on a frozen encoder."""
    config = Config().from_disk(recipe.config_path("textcat.cfg"), interpolate=False)
    config["training"]["optimizer"]["learn_rate"]["initial_rate"] = 0.3
    config["training"]["dropout"] = 0.0
    config["training"]["max_epochs"] = 5
    config["training"]["batcher"]["size"] = 8
    config["system"]["seed"] = 3
    config.to_disk(workspace / "fast.cfg")
    return "fast.cfg"


def meta_of(path: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((path / "meta.json").read_text(encoding="utf8"))
    return meta


def training_of(path: Path) -> dict[str, Any]:
    """What the meta.json of a pipeline says about its training."""
    facts: dict[str, Any] = meta_of(path)["trf"]["training"]
    return facts


def rows_of(stderr: str) -> list[list[str]]:
    """The cells of the table of evaluations, without its header."""
    lines = stderr.splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("   step"))
    rest = lines[header + 1 :]
    return [line.split() for line in rest if re.match(r" +[\d,]+ ", line)]


def test_replaces_the_model_and_tells_the_story(run: Run, workspace: Path) -> None:
    before = (workspace / "model" / WEIGHTS).read_bytes()
    (workspace / "model" / "README.md").write_text("my notes\n")
    result = run("train", "model", "train.jsonl", "--epochs", "2", "--batch-size", "8")
    assert result.exit_code == 0
    assert result.stdout == ""

    read, decided, header, first, second, best, following = result.stderr.splitlines()
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
    assert first.endswith("  ← best")
    score = meta_of(workspace / "model")["performance"]["cats_macro_f"]
    best_step = training_of(workspace / "model")["best_step"]
    assert best.startswith(f"✔ Best dev macro F {score:.3f} at step {best_step}; saved to ")
    assert best.endswith("model (was: pipeline without a text classifier)")
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
    assert overlap.startswith("⚠ 1 of 4 texts in dev occurs in train too")
    assert empty == "⚠ 1 text in dev is empty (first: line 4)"
    assert few == "⚠ 2 labels have fewer than 10 texts in train: BAD (4), GOOD (4)"


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


# What the command does with the events, whatever training they come from


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Puts prepared events in place of a training; returns what the command asked for."""

    def replay(*events: Event) -> dict[str, Any]:
        asked: dict[str, Any] = {}

        def train_textcat(model: str, train: str, **options: Any) -> Iterator[Event]:
            asked.update(options, model=model, train=train)
            yield from events

        monkeypatch.setattr(training, "train_textcat", train_textcat)
        return asked

    return replay


PLAN = Planned(
    train_texts=4517,
    dev_texts=1501,
    dev_origin="from dev.csv",
    label_counts={"A": 1, "B": 2, "C": 3, "D": 4, "E": 5, "F": 6, "G": 7, "H": 72},
    exclusive=False,
    remarks=["one thing", "another"],
    device="mps",
    threads=1,
    trf_lr=5e-5,
    learn_rate=1e-3,
    batch_size=32,
    steps=4240,
    warmup_steps=1042,
    mean_length=20.6,
    classifier="new classifier",
    segments="single sentences",
)
FINISHED = Finished(
    best_step=2820,
    metric="cats_micro_f",
    score=0.97449,
    path=Path("trained"),
    was=None,
    stopped_early=False,
    seconds=112.0,
)


def evaluated(step: int, *, is_best: bool) -> Evaluated:
    scores = SimpleNamespace(accuracy=0.98249, macro_f=0.9605)
    return Evaluated(step, step / 1410, 0.04151, 13_409.7, 0.9605, scores, is_best)  # type: ignore[arg-type]


def test_figures_are_for_people(run: Run, replayed: Callable[..., dict[str, Any]]) -> None:
    replayed(
        PLAN,
        Stepped(1, 0.7),
        evaluated(1410, is_best=True),
        Stepped(2, 0.5),
        evaluated(2820, is_best=False),
        FINISHED,
    )
    result = run("train", "model", "train.csv")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "✔ 4,517 texts to train on, 1,501 for dev (from dev.csv); 8 labels, multi-label: "
        "H 72.0 %, G 7.0 %, F 6.0 %, E 5.0 %, D 4.0 %, C 3.0 % and 2 more",
        "⚠ one thing",
        "⚠ another",
        "ℹ MPS, 1 thread; encoder rate 5e-05, head rate 1e-03, batch 32, 4,240 steps, "
        "warm-up 1,042; single sentences, mean length 21 wordpieces; new classifier",
        "   step   epoch     loss  accuracy  macro F   words/s",
        "  1,410    1.00    0.042     0.982    0.961    13,410  ← best",
        "  2,820    2.00    0.042     0.982    0.961    13,410",
        "✔ Best dev micro F 0.974 at step 2,820; saved to trained",
        "  Next: trf evaluate trained test.jsonl",
    ]


def test_methods_are_named(run: Run, replayed: Callable[..., dict[str, Any]]) -> None:
    methods = ["lowest 2 of 6 layers frozen", "layer decay 0.9"]
    replayed(replace(PLAN, precision="bf16", methods=methods), FINISHED)
    assert (
        "ℹ MPS, bf16, 1 thread; encoder rate 5e-05, head rate 1e-03, lowest 2 of 6 layers frozen, "
        "layer decay 0.9, batch 32, 4,240 steps, "
    ) in run("train", "model", "train.csv").stderr


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ([], None, None),
        (["-n", "3"], "epochs", 3),
        (["-b", "16"], "batch_size", 16),
        (["--learn-rate", "3e-5"], "learn_rate", 3e-5),
        (["--architecture", "softmax_pooler_output"], "architecture", "softmax_pooler_output"),
        (["--patience", "0"], "patience", 0),
        (["--eval-every", "9"], "eval_every", 9),
        (["--freeze-encoder"], "freeze_encoder", True),
        (["--seed", "0"], "seed", 0),
        (["--device", "cuda:1"], "device", "cuda:1"),
        (["--dev-split", "0.25"], "dev_split", 0.25),
        (["--exclusive"], "exclusive", True),
        (["--multilabel"], "exclusive", False),
        (["--max-texts", "10"], "max_texts", 10),
        (["--checkpoint-every", "0"], "checkpoint_every", 0),
        (["--segments", "doc"], "segments", "doc"),
        (["--pooling", "max"], "pooling", "max"),
        (["--balance"], "balance", True),
        (["--focal-gamma", "2"], "focal_gamma", 2.0),
        (["--accumulate", "2"], "accumulate", 2),
        (["--layer-decay", "0.9"], "layer_decay", 0.9),
        (["--freeze-layers", "2"], "freeze_layers", 2),
        (["--lora", "8"], "lora", 8),
        (["--precision", "bf16"], "precision", "bf16"),
        (["--averages"], "averages", True),
        (["-c", "my.cfg"], "config", Path("my.cfg")),
    ],
    ids=lambda value: " ".join(value) or "none" if isinstance(value, list) else "",
)
def test_each_option_changes_one_setting(
    run: Run,
    replayed: Callable[..., dict[str, Any]],
    options: list[str],
    name: str | None,
    value: object,
) -> None:
    asked = replayed(PLAN, FINISHED)
    assert run("train", "model", "train.csv", *options).exit_code == 0
    changed = {} if name is None else {name: value}
    assert asked == {
        "model": "model",
        "train": "train.csv",
        "dev": None,
        "output": None,
        "settings": Settings(**changed),  # type: ignore[arg-type]
        "resume": False,
    }


def test_resume_is_passed_on(run: Run, replayed: Callable[..., dict[str, Any]]) -> None:
    asked = replayed(replace(PLAN, done_steps=40), FINISHED)
    result = run("train", "model", "train.csv", "--resume")
    assert asked["resume"] is True
    assert "ℹ Goes on after step 40 of 4,240" in result.stderr.splitlines()
    replayed(PLAN, replace(FINISHED, was_finished=True))
    result = run("train", "model", "train.csv", "--resume")
    assert "ℹ There is no checkpoint to go on from; starts from the beginning" in result.stderr
    assert "ℹ This training had already ended: trained is its result" in result.stderr


def test_dev_and_output_have_short_names(run: Run, replayed: Callable[..., dict[str, Any]]) -> None:
    asked = replayed(PLAN, FINISHED)
    assert run("train", "model", "train.csv", "-d", "dev.csv", "-o", "trained").exit_code == 0
    assert (asked["dev"], asked["output"]) == ("dev.csv", Path("trained"))


# Wrong input


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        (["nowhere", "train.jsonl"], "nowhere: there is no such directory", "trf init minilm"),
        (["folder", "train.jsonl"], "is no spaCy pipeline", ""),
        (["tiny-bert", "train.jsonl"], "is no spaCy pipeline", ""),
        (["train.jsonl", "train.jsonl"], "train.jsonl: ", ""),
        (["model", "trian.jsonl"], "trian.jsonl: no such file", "Did you mean train.jsonl?"),
        (["model", "folder"], "folder: a directory, not a file", "file"),
        (["model", "empty.jsonl"], "empty.jsonl: no records", "A record is"),
        (["model", "folder/notes.txt"], "folder/notes.txt: a .txt file has no labels", ".jsonl"),
        (["model", "train.jsonl", "--dev", "dve.jsonl"], "dve.jsonl: no such file", "dev.jsonl"),
        (
            ["model", "train.jsonl", "--dev", "empty.jsonl"],
            "empty.jsonl: no records",
            "A record is",
        ),
        (["model", "train.jsonl", "-o", "folder"], "folder: exists and is no spaCy", "another"),
        (["model", "train.jsonl", "-o", "dev.jsonl"], "dev.jsonl: is a file", "directory"),
        (["model", "train.jsonl", "--architecture", "x"], "x: no such arch", "softmax_last_hidden"),
        (["model", "train.jsonl", "--device", "warp"], "warp: not a device", "cpu"),
        (["model", "train.jsonl", "-c", "no.cfg"], "no.cfg: there is no such config file", None),
        (["model", "train.jsonl", "-c", "folder/notes.txt"], "folder/notes.txt: ", None),
        (["model", "train.jsonl", "-c", "model/config.cfg"], "model/config.cfg: lacks", "configs/"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_and_changes_nothing(
    workspace: Path, args: list[str], problem: str, advice: str | None, check_failure: CheckFailure
) -> None:
    check_failure(["train", *args], problem, advice)


@pytest.mark.parametrize(
    ("records", "problem", "advice"),
    [
        ([*TEXTS[:2], '{"text": "a", "label"'], "data.jsonl, line 3: not valid JSON", "Each line"),
        ([*TEXTS, "oops", *TEXTS, "{}"], "data.jsonl, line 25: not valid JSON", "lines 25, 50"),
        ([*TEXTS, {"text": "a", "lable": "BAD"}], "data.jsonl, line 25: no labels", '"label"'),
        (
            [*TEXTS, {"text": 3, "label": "BAD"}],
            'data.jsonl, line 25: "text" is a number',
            "quotes",
        ),
        ([*TEXTS, {"text": "a", "label": 1}], 'data.jsonl, line 25: "label" is a number', "name"),
        (TEXTS[::2], "data.jsonl: all texts have the same label, BAD", "at least two"),
        (TEXTS[:2], "data.jsonl: too few texts", "--dev"),
    ],
    ids=["broken", "count", "key", "text", "label", "one label", "few"],
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
    check_failure(["train", "model", "data.jsonl"], problem, advice)
    check_failure(["train", "model", "data.jsonl", "-o", "trained"], problem, advice)


def test_labels_that_train_lacks_are_named(
    workspace: Path, check_failure: CheckFailure, write: Write
) -> None:
    write(workspace / "dev.jsonl", [*DEV, {"text": "so so", "label": "MIXED"}])
    args = ["model", "train.jsonl", "--dev", "dev.jsonl"]
    problem = "dev.jsonl: 1 label is not in the training data: MIXED (line 3)"
    check_failure(["train", *args], problem, "dev.jsonl")


def test_several_labels_though_exclusive_was_asked_for(
    workspace: Path, check_failure: CheckFailure, write: Write
) -> None:
    write(workspace / "train.jsonl", [*TEXTS, {"text": "both", "labels": LABELS}])
    args = ["model", "train.jsonl", "--exclusive"]
    check_failure(["train", *args], "train.jsonl, line 25: 2 labels", "--multilabel")


@pytest.mark.parametrize(
    "options",
    [
        ["--nonsense"],
        ["--epochs", "0"],
        ["--batch-size", "0"],
        ["--learn-rate", "-1e-5"],
        ["--learn-rate", "nan"],
        ["--dev-split", "1"],
        ["--seed", "-1"],
        ["--patience", "-1"],
        ["--eval-every", "0"],
        ["--max-texts", "0"],
        ["--layer-decay", "1.1"],
        ["--freeze-layers", "-1"],
        ["--lora", "0"],
        ["--precision", "fp8"],
        ["surplus"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(
    run: Run, workspace: Path, options: list[str], digest: Digest
) -> None:
    before = digest(workspace)
    result = run("train", "model", "train.jsonl", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage: trf train" in result.stderr
    assert digest(workspace) == before


def test_options_that_exclude_each_other_are_wrong_usage(
    run: Run, workspace: Path, digest: Digest
) -> None:
    before = digest(workspace)
    options = ["--lora", "8", "--layer-decay", "0.9", "--freeze-encoder"]
    result = run("train", "model", "train.jsonl", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "✘ --layer-decay and --lora can't go with --freeze-encoder, which doesn't train the "
        "encoder at all",
        "  Leave out the one or the other",
    ]
    assert digest(workspace) == before


def test_layers_that_are_not_there(workspace: Path, check_failure: CheckFailure) -> None:
    options = ["--freeze-layers", "2"]
    problem = "bert: has 2 layers, so 2 can't stay as they are while it is trained"
    check_failure(["train", "model", "train.jsonl", *options], problem, "--freeze-encoder")


# Interrupts, in a process of its own

needs_signals = pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals")


@pytest.fixture
def endless(workspace: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """`trf train` after two evaluations, with so many epochs that it doesn't end by itself.

    Its parameter is a tuple of options. By default there are no checkpoints: whether the first one
    is written already would be a matter of milliseconds.
    """
    process = subprocess.Popen(
        [
            *(Path(sys.executable).with_name("trf"), "train", "model", "train.jsonl"),
            *("--epochs", "100000", "--eval-every", "1", "--batch-size", "4"),
            *getattr(request, "param", ("--checkpoint-every", "0")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf8",
        env={**os.environ, "PYTHONIOENCODING": "utf8"},
    )
    # Reading would wait for ever if the process did.
    guard = Timer(120, process.kill)
    guard.start()
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert sum(1 for _ in islice(filter(ROW.match, lines), 2)) == 2
        yield process
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


# A row of the table of evaluations.
ROW = re.compile(r" +[\d,]+ ")


@needs_signals
def test_interrupt_leaves_the_model_as_it_was(
    workspace: Path, model: Path, endless: subprocess.Popen[str], digest: Digest
) -> None:
    endless.send_signal(signal.SIGINT)
    stdout, stderr = endless.communicate(timeout=60)
    assert endless.returncode == 130
    assert stdout == ""
    *rows, last = stderr.splitlines()
    assert last == "✘ Interrupted; model is as it was."
    assert all(map(ROW.match, rows))
    assert digest(workspace / "model") == digest(model)
    assert sorted(path.name for path in workspace.iterdir()) == [
        *("dev.jsonl", "empty.jsonl", "folder", "model", "tiny-bert", "train.jsonl")
    ]


@needs_signals
@pytest.mark.parametrize("endless", [()], indirect=True)
def test_interrupt_says_how_to_go_on_from_a_checkpoint(
    workspace: Path, model: Path, endless: subprocess.Popen[str], digest: Digest
) -> None:
    endless.send_signal(signal.SIGINT)
    _, stderr = endless.communicate(timeout=60)
    assert endless.returncode == 130
    assert re.fullmatch(
        r"✘ Interrupted; model is as it was; the same command with --resume goes on from step "
        r"[\d,]+\.",
        stderr.splitlines()[-1],
    )
    assert digest(workspace / "model") == digest(model)
    assert (workspace / ".model.training" / "checkpoint").is_dir()


@needs_signals
@pytest.mark.parametrize("endless", [("--checkpoint-every", "0"), ()], indirect=True)
def test_killed_process_leaves_the_model_as_it_was(
    workspace: Path, model: Path, endless: subprocess.Popen[str], digest: Digest
) -> None:
    endless.kill()
    endless.communicate(timeout=60)
    assert endless.returncode == -signal.SIGKILL
    assert digest(workspace / "model") == digest(model)
