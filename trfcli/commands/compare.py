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
    from trfcli_pipeline.evaluation.mistakes import Mistake

_SHOWN_MISTAKES = 3
_TEST_NAMES = {"mcnemar": "McNemar's test", "bootstrap": "the bootstrap test"}


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
        show(result, records, names=(a, b))


def show(result: "Comparison", records: "Sequence[Record]", *, names: tuple[str, str]) -> None:
    """Print the scores of both, their significance, and texts that only one gets right.

    Args:
        names: The directories or names of A and B, as the user gave them.
    """
    from trfcli.rendering.mistakes import print_mistakes
    from trfcli_pipeline.evaluation.metric_names import metric_name

    console.data_line(f"{wording.plural(result.a.n_texts, 'text')}:")
    for letter, name, each in zip("AB", names, (result.a, result.b), strict=True):
        console.data_line(f"{letter}: {name} ({wording.thousands(each.speed or 0)} words/s)")
    console.data_table(
        ("", "A", "B", "B - A", "95% CI", "p", "corrected p"),
        [
            (
                metric_name(key),
                f"{each.a:.3f}",
                f"{each.b:.3f}",
                wording.decimal(each.value, sign="+"),
                " to ".join(wording.decimal(end, sign="+") for end in each.interval),
                p_value(result.tests[key].p_value),
                p_value(result.tests[key].corrected_p_value),
            )
            for key, each in result.differences.items()
        ],
    )
    console.data_line(
        "p: McNemar's exact test for accuracy, paired bootstrap for F. "
        f"Corrected p: for testing {len(result.tests)} metrics (Holm)."
    )
    console.data_line(
        f"Correct: both {wording.thousands(result.n_both)}, "
        f"only A {wording.thousands(len(result.only_a))}, "
        f"only B {wording.thousands(len(result.only_b))}, "
        f"neither {wording.thousands(result.n_neither)}"
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

    The corrected p-values decide what is significant. Where only the correction makes a difference
    insignificant, the evidence is called weak.
    """
    from trfcli_pipeline.evaluation.comparison import SIGNIFICANCE
    from trfcli_pipeline.evaluation.metric_names import metric_name

    tests = result.tests
    names = {key: metric_name(key) for key in tests}
    significant = [key for key, test in tests.items() if test.is_significant]
    weak = [
        key
        for key, test in tests.items()
        if not test.is_significant and test.p_value < SIGNIFICANCE
    ]
    others = [key for key in tests if key not in significant + weak]
    if not significant and not weak:
        *found, last = (f"{names[key]} ({p_equation(tests[key].p_value)})" for key in others)
        return f"No significant difference in {', '.join(found)} or {last}."
    sentences = [
        f"{tests[key].better} scores higher in {names[key]} ({p_equation(tests[key].p_value)})."
        for key in significant + weak
    ]
    if weak:
        reasons = [f"{names[key]} has {p_equation(tests[key].corrected_p_value)}" for key in weak]
        evidence = f"corrected for testing {len(tests)} metrics, {' and '.join(reasons)}"
        if not significant:
            of_others = [
                f"{_TEST_NAMES[tests[key].name]} on {names[key]} gives "
                f"{p_equation(tests[key].p_value)}"
                for key in others
            ]
            evidence = "; ".join([*of_others, evidence])
        about = f" for {' and '.join(names[key] for key in weak)}" if significant else ""
        sentences.append(f"The evidence{about} is weak: {evidence}.")
    if significant:
        sentences += [
            f"The difference in {names[key]} is not significant ({p_equation(tests[key].p_value)})."
            for key in others
        ]
    return " ".join(sentences)


def p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_equation(value: float) -> str:
    return f"p {p_value(value)}" if value < 0.001 else f"p = {p_value(value)}"
