import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from train_command import CheckFailure, Write
from typer.testing import Result

from trfcli.commands.suggest import describe
from trfcli_pipeline.curation.stability import Stability

Run = Callable[..., Result]

WORDS = ("film", "dog", "cafe", "news", "pie", "prize", "bore", "fun", "fox", "call")
POOL = [
    {"text": f"I {verb} this {word}", "id": number}
    for number, (verb, word) in enumerate((v, w) for v in ("love", "hate") for w in WORDS)
]
LABELED = [
    {"text": f"{word} {verb}", "label": label}
    for verb, label in (("love", "GOOD"), ("hate", "BAD"))
    for word in WORDS[:6]
][::-1]


@pytest.fixture
def folder(tmp_path: Path, write: Write, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("encoder").symlink_to(tiny_bert)
    write(Path("pool.jsonl"), POOL)
    write(Path("labeled.jsonl"), LABELED[::2] + LABELED[1::2])
    return tmp_path


def test_a_cold_start(run: Run, folder: Path) -> None:
    result = run("suggest", "encoder", "pool.jsonl", "-n", "3")
    assert result.exit_code == 0, result.output
    first, *texts = result.stdout.splitlines()
    assert first == " 3 texts to label next, chosen from 20:"
    assert len(texts) == 3
    assert all(line.startswith("  line ") and '": stands for ' in line for line in texts)
    assert run("suggest", "encoder", "pool.jsonl", "-n", "3").stdout == result.stdout


def test_one_label_is_too_few_to_score_by(run: Run, folder: Path, write: Write) -> None:
    write(Path("one.jsonl"), [{"text": "I hate it", "label": "BAD"}])
    result = run("suggest", "encoder", "pool.jsonl", "-n", "2", "--labeled", "one.jsonl")
    assert result.exit_code == 0
    assert "don't differ in their labels: suggested as if without labels" in result.stderr


def test_with_labeled_texts(run: Run, folder: Path, write: Write) -> None:
    write(Path("pool.jsonl"), [*POOL, POOL[0], {"text": LABELED[0]["text"].upper()}])
    args = ("suggest", "encoder", "pool.jsonl", "--labeled", "labeled.jsonl", "-n", "4")
    result = run(*args)
    assert result.exit_code == 0, result.output
    first, *texts = result.stdout.splitlines()
    assert first == (
        " 4 texts to label next, chosen from 20 (left out: 1 labeled already, 1 copy):"
    )
    assert all("unsure between" in line or "probably" in line for line in texts)
    # 12 labels are too few to say what the last ones changed.
    assert "kappa" not in result.stderr


def test_what_the_last_labels_changed(run: Run, folder: Path, write: Write) -> None:
    write(Path("labeled.jsonl"), LABELED[::2] * 2 + LABELED[1::2] * 2)
    result = run("suggest", "encoder", "pool.jsonl", "--labeled", "labeled.jsonl", "-n", "2")
    assert "The last 20 labels changed the prediction for " in result.stderr
    assert "kappa" in result.stderr


@pytest.mark.parametrize(
    ("kappas", "advice"),
    [
        ([1.0], "one batch isn't enough to tell: label more until the mean kappa of the last 3 "),
        ([1.0, 0.9, 1.0], "one batch isn't enough to tell"),
        ([0.9, 1.0, 1.0], "more labels are still worth it, until kappa stays above 0.99"),
        ([1.0, 1.0, 1.0], "you can stop"),
    ],
)
def test_advice_on_more_labels(kappas: list[float], advice: str) -> None:
    assert advice in describe(Stability(20, 0.0, kappas))


def test_labels_that_are_not_exclusive(run: Run, folder: Path, write: Write) -> None:
    rows = [{"text": row["text"], "labels": [row["label"], "ALL"]} for row in LABELED]
    write(Path("several.jsonl"), [*rows, {"text": "none", "labels": []}])
    result = run("suggest", "encoder", "pool.jsonl", "-n", "3", "--labeled", "several.jsonl")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("unsure about ") == 3


def test_the_classifier_of_a_pipeline(run: Run, folder: Path) -> None:
    options = ("--epochs", "1", "--freeze-encoder", "--device", "cpu", "--dev", "labeled.jsonl")
    assert run("init", "encoder", "model", "--lang", "xx").exit_code == 0
    assert run("train", "model", "labeled.jsonl", *options).exit_code == 0
    result = run("suggest", "model", "pool.jsonl", "-n", "3")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("GOOD (0.") == 3


def test_nothing_is_guessed_about_a_file_that_is_not_replaced(run: Run, folder: Path) -> None:
    # Who reads it learns which column has the text.
    Path("mine.csv").write_text("what I think,mark\nso good,1\nso bad,2\n")
    result = run("suggest", "encoder", "pool.jsonl", "-o", "mine.csv")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "✘ mine.csv: already exists and is not a file of trf suggest",
        "  Choose another file",
    ]


@pytest.mark.parametrize("name", ["batch.jsonl", "batch.json", "batch.csv", "batch.tsv"])
def test_a_file_is_written_labeled_and_trained_on(run: Run, folder: Path, name: str) -> None:
    result = run("suggest", "encoder", "pool.jsonl", "-n", "6", "-o", name)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert result.stderr.startswith(f"✔ Wrote 6 texts to label to {name}; chosen from 20\n")
    content = Path(name).read_bytes()
    assert run("suggest", "encoder", "pool.jsonl", "-n", "6", "-o", name).exit_code == 0
    assert Path(name).read_bytes() == content
    label(Path(name))
    again = run("suggest", "encoder", "pool.jsonl", "-o", name)
    assert again.exit_code == 1
    assert again.stderr == f"✘ {name}: already has labels\n  Choose another file\n"
    if name == "batch.json":
        assert run("init", "encoder", "model", "--lang", "xx").exit_code == 0
        options = ("--epochs", "1", "--freeze-encoder", "--device", "cpu", "--dev", "labeled.jsonl")
        assert run("train", "model", "labeled.jsonl", name, *options).exit_code == 0


def label(path: Path) -> None:
    """Label the first text of a file, as its tool does."""
    text = path.read_text("utf8")
    match path.suffix:
        case ".jsonl":
            text = text.replace('"label": []', '"label": ["GOOD"]', 1)
        case ".json":
            tasks = json.loads(text)
            for task in tasks:
                choice = {
                    "value": {"choices": ["GOOD" if "love" in task["data"]["text"] else "BAD"]}
                }
                task["annotations"] = [{"result": [choice]}]
            text = json.dumps(tasks)
        case _:
            header, first, *rest = text.splitlines()
            delimiter = "," if path.suffix == ".csv" else "\t"
            cells = first.split(delimiter)
            cells[header.split(delimiter).index("label")] = "GOOD"
            text = "\n".join([header, delimiter.join(cells), *rest, ""])
    path.write_text(text, "utf8")


def test_a_format_is_printed(run: Run, folder: Path) -> None:
    result = run("suggest", "encoder", "pool.jsonl", "-n", "2", "--format", "prodigy")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(row) for row in rows] == [["text", "id", "meta"]] * 2


@pytest.mark.parametrize("rows", [[{"text": "Only one"}], [{"text": "a"}, {"text": "b"}]])
def test_tiny_pools(run: Run, folder: Path, write: Write, rows: Iterable[Any]) -> None:
    write(Path("tiny.jsonl"), rows)
    for options in ((), ("--labeled", "labeled.jsonl")):
        result = run("suggest", "encoder", "tiny.jsonl", *options)
        assert result.exit_code == 0, result.output
        assert len(result.stdout.splitlines()) == 1 + len(list(rows))


def test_labels_that_are_all_the_same(run: Run, folder: Path, write: Write) -> None:
    write(Path("same.jsonl"), LABELED[:3])
    result = run("suggest", "encoder", "pool.jsonl", "-n", "2", "--labeled", "same.jsonl")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("stands for") == 2


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        ("encoder empty.jsonl", "empty.jsonl: no records in the file", "A record is"),
        ("encoder blank.jsonl", "no text is left to suggest (1 without words)", "other texts"),
        (
            "encoder labeled.jsonl --labeled labeled.jsonl",
            "labeled.jsonl: no text is left to suggest (12 labeled already)",
            "Give a pool with other texts",
        ),
        (
            "encoder pool.jsonl --labeled pool.jsonl",
            "none of the 20 records has a label",
            "--label-column",
        ),
        ("encoder pool.jsonl -o pool.jsonl", "pool.jsonl: is the input", "another"),
        ("encoder pool.jsonl -o labeled.jsonl", "is not a file of trf suggest", "another"),
        ("nosuch pool.jsonl", "nosuch: can't reach the Hugging Face hub", "minilm"),
        ("encoder nosuch.jsonl", "nosuch.jsonl: ", ""),
    ],
)
def test_what_can_not_be_used(
    folder: Path,
    write: Write,
    check_failure: CheckFailure,
    args: str,
    problem: str,
    advice: str | None,
) -> None:
    write(Path("empty.jsonl"), [])
    write(Path("blank.jsonl"), [{"text": "  "}])
    check_failure(["suggest", *args.split()], problem, advice)


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ("-n 0", "-n: from 1 to 5,000 texts can be suggested, not 0"),
        ("-n 5001", "not 5,001"),
        ("-o batch.txt", "batch.txt: the suffix doesn't say for which tool the file is"),
        ("--format word", "'word' isn't one of doccano"),
    ],
)
def test_wrong_usage(run: Run, folder: Path, args: str, problem: str) -> None:
    result = run("suggest", "encoder", "pool.jsonl", *args.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert problem in result.stderr
    assert not Path("batch.txt").exists()
