"""Write the tables of BENCHMARKS.md from the results of `run.py`.

usage: report.py RESULTS.jsonl ... BENCHMARKS.md

The file is kept as it is from the heading "What was tried" on.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Line = dict[str, Any]


class Column(NamedTuple):
    """A column of a table: its title, the name of a metric in the results, and its format."""

    title: str
    metric: str
    form: str = ",.0f"


class Table(NamedTuple):
    """A table with the medians of some metrics for each contestant.

    Attributes:
        note: How the metrics are measured.
        ratios: Metrics, each with the contestant whose median is the divisor; None for the first
            contestant of the results.
    """

    title: str
    note: str
    columns: Sequence[Column]
    ratios: Sequence[tuple[str, str | None]] = ()


_STRIDED, _SENTENCES = "spacy-transformers, strided", "spacy-transformers, sentences"
_PLAIN = "plain transformers"
_SCORES = (
    Column("accuracy or micro F (%)", "score", ".1f"),
    Column("macro F (%)", "macro_f", ".1f"),
)
_TRAINING = (
    Column("training time (s)", "train_s", ",.1f"),
    Column("texts", "texts"),
    Column("epochs", "epochs"),
    Column("peak memory (MB)", "peak_mb"),
)
TABLES = {
    "encode": Table(
        "Running a pipeline",
        "Whole pipelines. Words are separated by whitespace; memory is that of the whole process. "
        "Bookkeeping is the share of time outside of tokenizers, encoder and other components, for "
        'example for the alignment. "Encoder alone" times only the forward passes, without '
        "tokenization, alignment, or Docs.",
        (
            Column("words/s", "words_per_s"),
            Column("seconds", "seconds", ",.1f"),
            Column("peak memory (MB)", "peak_mb"),
            Column("bookkeeping (%)", "bookkeeping", ".1f"),
        ),
        (
            ("words_per_s", _STRIDED),
            ("words_per_s", _SENTENCES),
            ("words_per_s", "encoder alone"),
            ("words_per_s", None),
            ("seconds", None),
            ("peak_mb", _STRIDED),
        ),
    ),
    "train": Table(
        "Training steps",
        "An encoder and a text classifier are trained by `nlp.update` with dropout 0.1, the way "
        "spacy-transformers trains, and by `trf train-textcat`.",
        (Column("texts/s", "texts_per_s", ",.1f"), Column("peak memory (MB)", "peak_mb")),
        (("texts_per_s", "spacy-transformers"),),
    ),
    "busy": Table(
        "Beside a busy process",
        "Training steps of one epoch, alone and while another process keeps a core busy.",
        (Column("training time (s)", "train_s", ",.1f"),),
        (("train_s", "trf"), ("train_s", _PLAIN)),
    ),
    "start": Table(
        "Starting and loading",
        "Wall-clock time of whole processes.",
        (Column("seconds", "seconds", ".2f"),),
        (("seconds", "import spacy"), ("seconds", "import spacy, AutoModel.from_pretrained")),
    ),
    "textcat": Table(
        "Fine-tuning",
        "Scores on the test set, one seed per round. The time covers the training steps only. "
        "Where the data has no dev set, `trf` holds out a tenth of the training set.",
        (*_SCORES, *_TRAINING),
        (("train_s", _PLAIN), ("peak_mb", _PLAIN)),
    ),
    "few-shot": Table(
        "Few texts",
        "Scores on the test set, one draw of training texts per round.",
        (*_SCORES, *_TRAINING),
    ),
    "score": Table("Trained pipelines", "Scores on the test set.", _SCORES),
}
_BY_HAND = "\n## What was tried"
_PERCENTAGES = ("accuracy", "micro_f", "macro_f", "bookkeeping")


def main(results: Sequence[str], output: Path) -> None:
    if output.suffix != ".md":
        # Otherwise a forgotten name would overwrite the results.
        sys.exit(f"{output}: the last argument is the .md file to write")
    lines = [
        json.loads(line)
        for path in results
        for line in Path(path).read_text(encoding="utf8").splitlines()
    ]
    for each in lines:
        each |= {name: 100 * each[name] for name in _PERCENTAGES if name in each}
        each["score"] = each.get("accuracy", each.get("micro_f"))
    before = output.read_text(encoding="utf8") if output.exists() else ""
    tables = "\n".join(report(lines))
    output.write_text(f"{tables}\n{by_hand(before)}", encoding="utf8")


def by_hand(text: str) -> str:
    """Return the part of the file that was written by hand."""
    _, heading, rest = text.partition(_BY_HAND)
    return heading + rest


def report(lines: Sequence[Line]) -> Iterator[str]:
    yield "# Benchmarks\n"
    yield (
        "All values are medians, with the lowest and the highest in parentheses. They are measured "
        "by `benchmarks/run.py`."
    )
    for name, table in TABLES.items():
        own = [each for each in lines if each["benchmark"] == name]
        if own:
            yield from section(table, own)
    yield from setting(lines)


def section(table: Table, lines: Sequence[Line]) -> Iterator[str]:
    measured = [each for each in lines if "contestant" in each]
    yield f"\n## {table.title}\n\n{table.note}"
    for data in distinct(each.get("data") for each in measured):
        own = [each for each in measured if each.get("data") == data]
        if data is not None:
            rounds = len({each["round"] for each in own})
            yield f"\n{data}, {rounds} round{'' if rounds == 1 else 's'}:"
        yield ""
        yield from rows(table, own)
    yield "\n```"
    yield from distinct(each["command"] for each in lines if "command" in each)
    yield "```"


def rows(table: Table, lines: Sequence[Line]) -> Iterator[str]:
    names = distinct(each["contestant"] for each in lines)
    columns = [each for each in table.columns if any(each.metric in line for line in lines)]
    titles = {each.metric: each.title for each in columns}
    ratios = [
        (metric, baseline or names[0])
        for metric, baseline in table.ratios
        if metric in titles and baseline in (None, *names)
    ]
    yield row(
        [
            "",
            *(each.title for each in columns),
            *(f"{titles[metric]} ÷ {baseline}" for metric, baseline in ratios),
        ]
    )
    yield row(["---", *["---:"] * (len(columns) + len(ratios))])
    of = {name: [each for each in lines if each["contestant"] == name] for name in names}
    for name, own in of.items():
        cells = [cell(own, each) for each in columns]
        cells += [
            f"{median(own, metric) / median(of[baseline], metric):.2f}"
            for metric, baseline in ratios
        ]
        yield row([name, *cells])


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def setting(lines: Sequence[Line]) -> Iterator[str]:
    """List the machines and the versions of the packages."""
    yield "\n## Machine and versions\n"
    for each in distinct(
        json.dumps([line["machine"], line["threads"]]) for line in lines if "machine" in line
    ):
        machine, threads = json.loads(each)
        yield (
            f"- {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
            f"{machine['system']}; {threads} threads"
        )
    for each in distinct(json.dumps(line["versions"]) for line in lines if "versions" in line):
        yield f"- {', '.join(f'{name} {version}' for name, version in json.loads(each).items())}"


def distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def median(lines: Sequence[Line], metric: str) -> float:
    return statistics.median(each[metric] for each in lines)


def cell(lines: Sequence[Line], column: Column) -> str:
    values = [each[column.metric] for each in lines if column.metric in each]
    if not values:
        return ""
    middle, low, high = (
        f"{each:{column.form}}" for each in (statistics.median(values), min(values), max(values))
    )
    return middle if low == high else f"{middle} ({low}–{high})"


if __name__ == "__main__":
    main(sys.argv[1:-1], Path(sys.argv[-1]))
