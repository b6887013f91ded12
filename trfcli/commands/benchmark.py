"""`trf benchmark`: measure the speed and memory of a pipeline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trfcli import console, wording
from trfcli.options import (
    BatchSizeOption,
    DataSet,
    DeviceOption,
    JsonOption,
    ModelArgument,
    texts_argument,
)

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.benchmark import Benchmark, Spread

_METRICS = {
    "words_per_second": ("words/s", ",.0f"),
    "texts_per_second": ("texts/s", ",.1f"),
    "load_seconds": ("seconds to load", ",.2f"),
    "start_seconds": ("seconds to start and load", ",.2f"),
    "peak_megabytes": ("peak memory (MB)", ",.0f"),
}
_WORK = {
    "wordpieces": "wordpiece tokenizer",
    "encoder": "forward pass",
    "bookkeeping": "alignment and bookkeeping",
}


def benchmark(
    model: ModelArgument,
    data: Annotated[
        DataSet | None, texts_argument(metavar="DATA", show_default="556 SMS messages")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="A second pipeline to compare with.", show_default=False
        ),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option("--rounds", "-r", metavar="N", min=1, help="Measurements of each pipeline."),
    ] = 5,
    max_texts: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Use only the first N texts.", show_default="all"),
    ] = None,
    as_json: JsonOption = False,
    batch_size: BatchSizeOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Measure the speed of a pipeline and of each component, and its peak memory.

    Example:
      trf benchmark ./model
      trf benchmark ./model --against en_core_web_sm
    """
    from trfcli_pipeline.tasks import benchmark as task

    models = [model] if against is None else [model, against]
    measurements = list(
        task.benchmark(
            models,
            data or task.DEFAULT_TEXTS,
            max_texts=max_texts,
            rounds=rounds,
            batch_size=batch_size,
            device=device,
        )
    )
    results = [
        task.Benchmark(each, measurements[place :: len(models)])
        for place, each in enumerate(models)
    ]
    if as_json:
        found: dict[str, Any] = {
            "data": data and str(data),
            "pipelines": [each.as_json() for each in results],
        }
        if against is not None:
            found["ratios"] = results[0].ratios(results[1])
        console.data_json(found)
    else:
        show(results)


def show(results: "Sequence[Benchmark]") -> None:
    """Print the metrics of the pipelines side by side, and the parts of each."""
    first = results[0].measurements[0]
    console.data_line(
        f"{wording.plural(first.n_texts, 'text')}, {wording.plural(first.n_words, 'word')}; "
        f"{first.device}, {wording.plural(first.threads, 'thread')}, "
        f"{wording.plural(len(results[0].measurements), 'round')}"
    )
    show_metrics(results)
    for result in results:
        console.data("" if len(results) == 1 else f"\n {result.model}")
        show_parts(result)


def show_metrics(results: "Sequence[Benchmark]") -> None:
    """Print medians and ranges, and for two pipelines the ratio of the medians."""
    names = [""] if len(results) == 1 else [each.model for each in results]
    headers = [""]
    for name in names:
        headers += [name or "median", "lowest to highest"]
    ratios = results[0].ratios(results[1]) if len(results) > 1 else {}
    if ratios:
        headers.append("first / second")
    rows = []
    for name, (title, form) in _METRICS.items():
        row = [title]
        for result in results:
            row += _cells(result.metrics().get(name), form)
        if ratios:
            row.append(f"{ratios[name]:.2f}" if name in ratios else "")
        if any(row[1:]):
            rows.append(row)
    console.data_table(headers, rows)


def show_parts(result: "Benchmark") -> None:
    """Print the speed of each part by itself, and its share of the total time."""
    parts, work = result.parts(), result.work()
    first = result.measurements[0]
    total = sum(each.median for each in parts.values())
    titles = parts | {f"  {_WORK[name]}": spread for name, spread in work.items()}
    console.data_table(
        ("part", "words/s", "texts/s", "share of time"),
        [
            (
                title,
                _per_second(first.n_words, spread.median),
                _per_second(first.n_texts, spread.median),
                wording.percent(spread.median / total),
            )
            for title, spread in titles.items()
        ],
    )


def _cells(spread: "Spread | None", form: str) -> list[str]:
    if spread is None:
        return ["", ""]
    return [f"{spread.median:{form}}", f"{spread.lowest:{form}} to {spread.highest:{form}}"]


def _per_second(number: int, seconds: float) -> str:
    return wording.thousands(number / seconds) if seconds else ""
