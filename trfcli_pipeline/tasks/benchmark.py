"""How fast a pipeline is, part by part, and how much memory it takes."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from trfcli_pipeline.data.package_data import shipped_path
from trfcli_pipeline.encoder.devices import peak_bytes, resolve_device
from trfcli_pipeline.evaluation.evaluate import predict
from trfcli_pipeline.pipeline.components import find_component
from trfcli_pipeline.pipeline.loading import check_pipeline, load_pipeline
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.tasks.worker_pool import run_apart

DEFAULT_TEXTS = shipped_path("sample_data/sms_spam/test.jsonl")
# As many bring about what is only built when it is needed: threads, kernels, caches.
_WARM_UP_TEXTS = 32

# What `Benchmark.figures` has, as attributes of `Measurement`.
_FIGURES = (
    "words_per_second",
    "texts_per_second",
    "load_seconds",
    "start_seconds",
    "peak_megabytes",
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one process has measured of a pipeline.

    Attributes:
        n_words: spaCy tokens that aren't whitespace.
        seconds: Time of `nlp.pipe` with all components.
        load_seconds: Time to load the pipeline.
        start_seconds: Time from the start of the process until the pipeline was loaded; None if the
            process had other things to do.
        peak_bytes: The most memory that the process had up to the end of `nlp.pipe`; None where the
            system doesn't say.
        parts: Seconds of the spaCy tokenizer and of each component, run one after the other on each
            batch.
        work: What the wordpiecer and the encoder need theirs for: "wordpieces" for the encoder's
            own tokenizer, "encoder" for its forward pass, "bookkeeping" for all else, such as the
            alignment. Empty for a pipeline without these two.
    """

    n_texts: int
    n_words: int
    device: str
    threads: int
    batch_size: int
    seconds: float
    load_seconds: float
    start_seconds: float | None
    peak_bytes: int | None
    parts: Mapping[str, float]
    work: Mapping[str, float]

    @property
    def words_per_second(self) -> float:
        return self.n_words / self.seconds

    @property
    def texts_per_second(self) -> float:
        return self.n_texts / self.seconds

    @property
    def peak_megabytes(self) -> float | None:
        """In MB (10⁶ bytes)."""
        return None if self.peak_bytes is None else self.peak_bytes / 1e6


class Spread(NamedTuple):
    """Median and range of a figure that was measured several times."""

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
    measurements: Sequence[Measurement]

    def figures(self) -> dict[str, Spread]:
        """Words and texts per second, seconds to load and to start, peak memory, where known."""
        found = {name: [getattr(each, name) for each in self.measurements] for name in _FIGURES}
        return {name: Spread.of(values) for name, values in found.items() if None not in values}

    def parts(self) -> dict[str, Spread]:
        """Seconds of each part of the pipeline; see `Measurement`."""
        return _spreads([each.parts for each in self.measurements])

    def work(self) -> dict[str, Spread]:
        """Seconds of each kind of work in wordpiecer and encoder; see `Measurement`."""
        return _spreads([each.work for each in self.measurements])

    def ratios(self, other: "Benchmark") -> dict[str, float]:
        """By which factor the medians of the figures are those of the other pipeline."""
        ours, theirs = self.figures(), other.figures()
        return {name: ours[name].median / theirs[name].median for name in ours if name in theirs}

    def as_json(self) -> dict[str, Any]:
        """All figures, as plain values."""
        first = asdict(self.measurements[0])
        same = ("n_texts", "n_words", "device", "threads", "batch_size")
        return {
            "model": self.model,
            "rounds": len(self.measurements),
            **{name: first[name] for name in same},
            **{name: each._asdict() for name, each in self.figures().items()},
            "part_seconds": {name: each._asdict() for name, each in self.parts().items()},
            "work_seconds": {name: each._asdict() for name, each in self.work().items()},
        }


def benchmark(
    models: Sequence[str],
    texts: Sequence[str],
    *,
    rounds: int = 5,
    batch_size: int | None = None,
    device: str = "auto",
) -> Iterator[Measurement]:
    """Measure pipelines in turn, each time in a new process.

    So nothing that one of them leaves behind, in memory or in caches, is to the other's good, and
    what changes on the machine while this goes on happens to all of them.

    Args:
        models: Directories or names of pipelines.
        texts: What to run them on; there must be some.
        batch_size: Texts in a batch; by default what the pipeline says.

    Yields:
        What was measured, in the order of the models, round by round.

    Raises:
        PipelineError: There is none of that name, or it failed.
        DeviceError: The machine has no such device.
    """
    resolve_device(device)
    for model in models:
        check_pipeline(model)
    work = partial(measure, texts=texts, batch_size=batch_size, device=device)
    for _ in range(rounds):
        for model in models:
            yield run_apart(partial(work, start=time.perf_counter()), model)


def measure(
    model: str,
    texts: Sequence[str],
    *,
    batch_size: int | None = None,
    device: str = "auto",
    start: float | None = None,
) -> Measurement:
    """Measure a pipeline in this process: load it, warm it up, run the whole, then its parts.

    Args:
        start: When the process was started, by `time.perf_counter`, if only for this.
    """
    before = time.perf_counter()
    nlp = load_pipeline(model, device=device)
    loaded = time.perf_counter()
    batch_size = batch_size or nlp.batch_size
    predict(nlp, texts[:_WARM_UP_TEXTS], batch_size=batch_size)
    prediction = predict(nlp, texts, batch_size=batch_size)
    peak = peak_bytes()
    parts, work = measure_parts(nlp, texts, batch_size=batch_size)
    encoder = find_component(nlp, TransformersTok2Vec)
    return Measurement(
        n_texts=len(texts),
        n_words=prediction.n_words,
        device="cpu" if encoder is None else str(encoder.model.shim.device),
        threads=torch.get_num_threads(),
        batch_size=batch_size,
        seconds=prediction.seconds,
        load_seconds=loaded - before,
        start_seconds=None if start is None else loaded - start,
        peak_bytes=peak,
        parts=parts,
        work=work,
    )


def measure_parts(
    nlp: Language, texts: Sequence[str], *, batch_size: int
) -> tuple[dict[str, float], dict[str, float]]:
    """The `parts` and the `work` of a `Measurement`."""
    wordpiecer = find_component(nlp, TransformersWordPiecer)
    encoder = find_component(nlp, TransformersTok2Vec)
    clocks = {name: _Clock() for name in ("tokenizer", *nlp.pipe_names)}
    pieces, forward = _Clock(), _Clock()
    with (
        _timed(wordpiecer, "_encode", pieces),
        _timed(encoder and encoder.model, "encode", forward),
    ):
        for batch in minibatch(texts, size=batch_size):
            with clocks["tokenizer"]:
                docs = [nlp.make_doc(text) for text in batch]
            for name, pipe in nlp.pipeline:
                with clocks[name]:
                    docs = _run(pipe, docs, batch_size)
    parts = {name: clock.seconds for name, clock in clocks.items()}
    if wordpiecer is None or encoder is None:
        return parts, {}
    both = sum(parts[name] for name, pipe in nlp.pipeline if pipe in (wordpiecer, encoder))
    work = {"wordpieces": pieces.seconds, "encoder": forward.seconds}
    return parts, {**work, "bookkeeping": both - sum(work.values())}


class _Clock:
    """Adds up the time in which it runs; that of several threads at once counts once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = Lock()
        self._running = 0
        self._since = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._running == 0:
                self._since = time.perf_counter()
            self._running += 1

    def __exit__(self, *error: object) -> None:
        if torch.accelerator.is_available():
            # It works on when Python has gone on.
            torch.accelerator.synchronize()
        with self._lock:
            self._running -= 1
            if self._running == 0:
                self.seconds += time.perf_counter() - self._since


@contextmanager
def _timed(owner: Any, method: str, clock: _Clock) -> Iterator[None]:
    """Let a clock run during the calls of an object's method; there may be no such object."""
    if owner is None:
        yield
        return
    original = getattr(owner, method)

    def call(*args: Any) -> Any:
        with clock:
            return original(*args)

    setattr(owner, method, call)
    try:
        yield
    finally:
        delattr(owner, method)


def _run(pipe: Callable[[Doc], Doc], docs: list[Doc], batch_size: int) -> list[Doc]:
    if hasattr(pipe, "pipe"):
        return list(pipe.pipe(docs, batch_size=batch_size))
    return [pipe(doc) for doc in docs]


def _spreads(rounds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    return {name: Spread.of([each[name] for each in rounds]) for name in rounds[0]}
