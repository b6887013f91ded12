"""`trf compare`: compare the text classifiers of two pipelines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from trfcli import console, wording
from trfcli.options import (
    BatchSizeOption,
    DataArgument,
    DataSet,
    DeviceOption,
    JsonOption,
    ThresholdOption,
    pipeline_argument,
)

if TYPE_CHECKING:
    from trfcli_pipeline.data.records import Record
    from trfcli_pipeline.evaluation.comparison import Comparison
    from trfcli_pipeline.evaluation.results import Mistake

_SHOWN_MISTAKES = 3
_NAMES = {"accuracy": "accuracy", "cats_macro_f": "macro F", "cats_micro_f": "micro F"}


def compare(
    a: Annotated[str, pipeline_argument(metavar="A")],
    b: Annotated[str, pipeline_argument(metavar="B", help="The other pipeline.")],
    data: DataArgument,
    as_json: JsonOption = False,
    threshold: ThresholdOption = None,
    batch_size: BatchSizeOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Test whether two pipelines' text classifiers differ significantly.

    Example:
      trf compare ./model ./trained test.jsonl
    """
    from trfcli_pipeline.tasks import compare as task

    texts = DataSet.joined(data)
    result, records = task.compare(
        a, b, texts, threshold=threshold, device=device, batch_size=batch_size
    )
    if as_json:
        found = result.as_json()
        for key in ("only_a", "only_b"):
            found[f"lines_{key}"] = [records[place].line for place in found.pop(key)]
        console.data_json({"a": a, "b": b, "data": str(texts), **found, "verdict": verdict(result)})
    else:
        show(result, records)


def show(result: "Comparison", records: "Sequence[Record]") -> None:
    """Print the scores of both, their significance, and texts that only one gets right."""
    from trfcli.rendering.mistakes import print_mistakes

    speeds = [wording.thousands(each.speed or 0) for each in (result.a, result.b)]
    console.data_line(
        f"{wording.plural(result.a.n_texts, 'text')}; words/s: A {speeds[0]}, B {speeds[1]}"
    )
    console.data_table(
        ("", "A", "B", "B - A", "95% CI", "bootstrap p"),
        [
            (
                _NAMES[name],
                f"{each.a:.3f}",
                f"{each.b:.3f}",
                wording.decimal(each.value, sign="+"),
                " to ".join(wording.decimal(end, sign="+") for end in each.interval),
                p_value(each.p_value),
            )
            for name, each in result.differences.items()
        ],
    )
    console.data_line(
        f"Correct: both {wording.thousands(result.n_both)}, "
        f"only A {wording.thousands(len(result.only_a))}, "
        f"only B {wording.thousands(len(result.only_b))}, "
        f"neither {wording.thousands(result.n_neither)} "
        f"(McNemar's exact test: {p_equation(result.mcnemar)})"
    )
    console.data_line(verdict(result))
    only_a = most_confident(result.b.mistakes, result.only_a)
    print_mistakes("Only A is correct", only_a, records, model="B")
    only_b = most_confident(result.a.mistakes, result.only_b)
    print_mistakes("Only B is correct", only_b, records, model="A")


def most_confident(mistakes: "Sequence[Mistake]", places: Sequence[int]) -> "list[Mistake]":
    """Choose the mistakes with the highest scores among the texts at some places."""
    chosen = set(places)
    return [each for each in reversed(mistakes) if each.index in chosen][:_SHOWN_MISTAKES]


def verdict(result: "Comparison") -> str:
    """Say for each metric which pipeline scores higher, or that the difference isn't significant.

    McNemar's test decides on accuracy, the bootstrap on macro F.
    """
    from trfcli_pipeline.evaluation.comparison import SIGNIFICANCE

    macro_f = result.differences["cats_macro_f"].p_value
    if not any(result.better.values()):
        return (
            f"No significant difference in accuracy ({p_equation(result.mcnemar)}) "
            f"or macro F ({p_equation(macro_f)})."
        )
    p_values = {"accuracy": result.mcnemar, "cats_macro_f": macro_f}
    # With two tests, one p-value just below the level is likely to be chance (Bonferroni).
    is_weak = min(p_values.values()) >= SIGNIFICANCE / len(p_values)
    tests = {
        "accuracy": "McNemar's test on accuracy",
        "cats_macro_f": "the bootstrap test on macro F",
    }
    sentences = []
    for name, winner in sorted(result.better.items(), key=lambda each: each[1] is None):
        p = p_equation(p_values[name])
        if winner is not None:
            sentences.append(f"{winner} scores higher in {_NAMES[name]} ({p}).")
        elif is_weak:
            sentences.append(f"The evidence is weak: {tests[name]} gives {p}.")
        else:
            sentences.append(f"The difference in {_NAMES[name]} is not significant ({p}).")
    return " ".join(sentences)


def p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_equation(value: float) -> str:
    return f"p {p_value(value)}" if value < 0.001 else f"p = {p_value(value)}"
