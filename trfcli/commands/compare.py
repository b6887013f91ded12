"""`trf compare`: whether two pipelines' text classifiers are really different."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from trfcli import console, wording
from trfcli.commands.evaluate import answer, excerpt, joined
from trfcli.options import (
    BatchSizeOption,
    DataArgument,
    DeviceOption,
    JsonOption,
    ThresholdOption,
    pipeline_argument,
)

if TYPE_CHECKING:
    from trfcli_pipeline.data.records import Record
    from trfcli_pipeline.evaluation.comparison import Comparison
    from trfcli_pipeline.evaluation.results import Mistake

_SHOWN_TEXTS = 3
_NAMES = {"accuracy": "accuracy", "cats_macro_f": "macro F", "cats_micro_f": "micro F"}


def compare(
    a: Annotated[str, pipeline_argument(metavar="A")],
    b: Annotated[str, pipeline_argument(metavar="B", help="The other pipeline.")],
    data: DataArgument,
    as_json: JsonOption = False,
    threshold: ThresholdOption = None,
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
) -> None:
    """Tell whether two pipelines' text classifiers are really different on labelled texts.

    Example:
      trf compare ./model ./trained test.jsonl
    """
    from trfcli_pipeline.data.records import read_records
    from trfcli_pipeline.evaluation import comparison
    from trfcli_pipeline.evaluation import evaluate as scoring
    from trfcli_pipeline.evaluation.classifier import find_classifier, gold_cats
    from trfcli_pipeline.pipeline.loading import load_pipeline

    records = read_records(data, labelled=True)
    pipelines = [load_pipeline(model, device=device) for model in (a, b)]
    classifiers = [find_classifier(nlp) for nlp in pipelines]
    comparison.check_comparable(*classifiers)
    gold = gold_cats(records, classifiers[0], name=data)
    of_a, of_b = (
        scoring.evaluate(
            nlp,
            [record.text for record in records],
            gold,
            component=classifier.name,
            labels=classifiers[0].labels,
            threshold=threshold,
            batch_size=batch_size or nlp.batch_size,
        )
        for nlp, classifier in zip(pipelines, classifiers, strict=True)
    )
    result = comparison.Comparison(of_a, of_b)
    if as_json:
        found = result.as_json()
        for key in ("only_a", "only_b"):
            found[f"lines_{key}"] = [records[place].line for place in found.pop(key)]
        console.data_json({"a": a, "b": b, "data": data, **found, "verdict": verdict(result)})
    else:
        show(result, records)


def show(result: "Comparison", records: "Sequence[Record]") -> None:
    """Print the figures of both, what speaks for a difference, and texts that tell them apart."""
    speeds = [wording.thousands(each.speed or 0) for each in (result.a, result.b)]
    console.data_line(
        f"{wording.plural(result.a.n_texts, 'text')}; words/s: A {speeds[0]}, B {speeds[1]}"
    )
    console.data_table(
        ("", "A", "B", "B - A", "95 % interval", "p"),
        [
            (
                _NAMES[name],
                f"{each.a:.3f}",
                f"{each.b:.3f}",
                f"{each.value:+.3f}",
                "{:+.3f} to {:+.3f}".format(*each.interval),
                p_value(each.p_value),
            )
            for name, each in result.differences.items()
        ],
    )
    console.data_line(
        f"Right: both {wording.thousands(result.n_both)}, "
        f"only A {wording.thousands(len(result.only_a))}, "
        f"only B {wording.thousands(len(result.only_b))}, "
        f"neither {wording.thousands(result.n_neither)}; "
        f"McNemar's exact test: p {p_value(result.mcnemar)}"
    )
    console.data_line(verdict(result))
    show_texts("Only A is right", result.only_a, result.b.mistakes, "B", records)
    show_texts("Only B is right", result.only_b, result.a.mistakes, "A", records)


def show_texts(
    title: str,
    places: Sequence[int],
    mistakes: "Sequence[Mistake]",
    wrong: str,
    records: "Sequence[Record]",
) -> None:
    """Print texts that one has right, those first where the other is surest."""
    chosen = set(places)
    shown = [each for each in reversed(mistakes) if each.index in chosen][:_SHOWN_TEXTS]
    if shown:
        console.data_line(f"{title}:")
    for mistake in shown:
        record = records[mistake.index]
        console.data_line(
            f'line {record.line} "{excerpt(record.text)}" is {joined(mistake.gold)}, '
            f"{wrong} said {answer(mistake)}",
            indent=2,
        )


def verdict(result: "Comparison") -> str:
    """One sentence: which is better, in what, or that it can't be told."""
    better = result.better
    won = {
        name: [_NAMES[figure] for figure, winner in better.items() if winner == name]
        for name in ("A", "B")
    }
    if won["A"] and won["B"]:
        return (
            f"They are really different: A is better in {' and '.join(won['A'])}, "
            f"B in {' and '.join(won['B'])}."
        )
    open_figures = [_NAMES[figure] for figure, winner in better.items() if winner is None]
    for name, figures in won.items():
        if figures:
            rest = f"; in {open_figures[0]} they may be equal" if open_figures else ""
            return f"{name} is really better in {' and '.join(figures)}{rest}."
    return (
        f"No real difference shows on {wording.plural(result.a.n_scored, 'text')}: "
        "what there is may be chance."
    )


def p_value(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
