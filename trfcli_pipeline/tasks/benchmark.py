"""Benchmark pipelines: rounds in separate processes, and their medians."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.package_data import shipped_path
from trfcli_pipeline.data.reading import Reading
from trfcli_pipeline.data.reading.tracking import track_reading
from trfcli_pipeline.pipeline.loading import check_pipeline
from trfcli_pipeline.progress import phase

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.speed import Measurement

DEFAULT_TEXTS = shipped_path("sample_data/sms_spam/test.jsonl")

# Attributes of `Measurement`.
_SPEEDS = ("words_per_second", "texts_per_second")
_METRICS = (*_SPEEDS, "load_seconds", "start_seconds", "peak_megabytes")


class Spread(NamedTuple):
    """Median and range of repeated measurements."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All measurements of one pipeline."""

    model: str
    measurements: Sequence["Measurement"]

    def metrics(self) -> dict[str, Spread]:
        """Speed, seconds to load and to start, and peak memory, each only where it is known."""
        found = {name: [getattr(each, name) for each in self.measurements] for name in _METRICS}
        return {name: Spread.of(values) for name, values in found.items() if None not in values}

    def parts(self) -> dict[str, Spread]:
        """Seconds of each part of the pipeline; see `Measurement`."""
        return _spreads([each.parts for each in self.measurements])

    def work(self) -> dict[str, Spread]:
        """Seconds of each kind of work in wordpiecer and encoder; see `Measurement`."""
        return _spreads([each.work for each in self.measurements])

    def ratios(self, other: "Benchmark") -> dict[str, float]:
        """Divide the medians by those of another pipeline."""
        ours, theirs = self.metrics(), other.metrics()
        return {name: ours[name].median / theirs[name].median for name in ours if name in theirs}

    def as_json(self) -> dict[str, Any]:
        """All results as plain JSON values."""
        first = asdict(self.measurements[0])
        same = ("n_texts", "n_words", "device", "threads", "batch_size")
        return {
            "model": self.model,
            "rounds": len(self.measurements),
            **{name: first[name] for name in same},
            **{name: each._asdict() for name, each in self.metrics().items()},
            "part_seconds": {name: each._asdict() for name, each in self.parts().items()},
            "work_seconds": {name: each._asdict() for name, each in self.work().items()},
        }


def benchmark(
    models: Sequence[str],
    data: DataSource = DEFAULT_TEXTS,
    *,
    max_texts: int | None = None,
    rounds: int = 5,
    batch_size: int | None = None,
    device: str = "auto",
) -> Iterator["Measurement"]:
    """Measure pipelines in turn, each time in a new process.

    New processes keep memory and caches of one measurement from affecting the next. Taking turns
    exposes all pipelines to the same changes in the machine's load.

    Args:
        models: Directories or names of pipelines.
        data: A data file of any format; "-" is JSONL on stdin.
        max_texts: How many texts of the file to use, from its beginning.
        rounds: Measurements of each pipeline.
        batch_size: Texts per batch, by default each pipeline's own.
        device: The device to run the encoders on.

    Yields:
        Round by round, a measurement of each model in the given order.

    Raises:
        PipelineError: A pipeline doesn't exist, or it failed.
        DeviceError: The machine has no such device.
        DataError: The file can't be read.
    """
    for model in models:
        check_pipeline(model)
    records = track_reading(Reading(data, labeled=False), data)
    texts = [record.text for record in islice(records, max_texts)]
    # torch takes seconds to import, so the checks above come first.
    from trfcli_pipeline.encoder.devices import resolve_device
    from trfcli_pipeline.tasks.speed import measure_pipeline
    from trfcli_pipeline.tasks.worker_pool import run_apart

    resolve_device(device)
    measure = partial(measure_pipeline, texts=texts, batch_size=batch_size, device=device)
    with phase("Measuring", total=rounds * len(models), unit="rounds") as measuring:
        for _ in range(rounds):
            for model in models:
                measuring.note = model
                yield run_apart(partial(measure, start=time.perf_counter()), model)
                measuring.done += 1


def _spreads(rounds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    return {name: Spread.of([each[name] for each in rounds]) for name in rounds[0]}
