"""Time pipelines on texts: words per second, memory, and the seconds of each component."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any
from unittest.mock import patch

import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from trfcli_pipeline.encoder.devices import peak_bytes
from trfcli_pipeline.evaluation.run import PredictionOutput, predict_texts
from trfcli_pipeline.pipeline.components import find_component
from trfcli_pipeline.pipeline.loading import load_pipeline
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.tokenization import doc_pieces

# Enough to build what is built lazily: threads, kernels, caches.
_WARM_UP_TEXTS = 32
# Few enough that all pipelines meet the same conditions if the machine's load changes.
_TEXTS_PER_TURN = 128


@dataclass(frozen=True, slots=True)
class Measurement:
    """Speed and memory of a pipeline, measured in one process.

    Attributes:
        n_words: spaCy tokens that aren't whitespace.
        seconds: Wall-clock time of `nlp.pipe` with all components.
        load_seconds: Time to load the pipeline.
        start_seconds: Time from the start of the process until the pipeline was loaded. None if the
            process did other things before.
        peak_bytes: Peak memory of the process until the end of `nlp.pipe`. None where the system
            doesn't report it.
        parts: Seconds of the spaCy tokenizer and of each component. They are timed separately: on
            each batch, one runs after the other.
        work: Seconds of the wordpiecer and the encoder by kind of work: "wordpieces" is the
            encoder's own tokenizer, "encoder" its forward pass, and "bookkeeping" the rest, such as
            the alignment. Empty for a pipeline without these components.
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
        """Peak memory in MB (10⁶ bytes)."""
        return None if self.peak_bytes is None else self.peak_bytes / 1e6


def measure_pipeline(
    model: str,
    texts: Sequence[str],
    *,
    batch_size: int | None = None,
    device: str = "auto",
    start: float | None = None,
) -> Measurement:
    """Load a pipeline in this process, warm it up, and time it as a whole and part by part.

    Args:
        model: Directory or name of the pipeline.
        texts: At least one text.
        batch_size: Texts per batch, by default the pipeline's own.
        device: The device to run the encoder on.
        start: Start time of the process by `time.perf_counter`; None if the process also does other
            things.
    """
    before = time.perf_counter()
    nlp = load_pipeline(model, device=device)
    loaded = time.perf_counter()
    batch_size = batch_size or nlp.batch_size
    _warm_up(nlp, texts, batch_size)
    prediction = predict_texts(nlp, texts, batch_size=batch_size)
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


def predict_in_turns(
    pipelines: Sequence[Language], texts: Sequence[str]
) -> Iterator[list[tuple[PredictionOutput, list[Doc]]]]:
    """Warm pipelines up, then time each of them on the same few texts before the next few.

    Yields:
        For each turn, the timed prediction and the Docs of each pipeline.
    """
    for nlp in pipelines:
        _warm_up(nlp, texts, nlp.batch_size)
    for turn in minibatch(texts, _TEXTS_PER_TURN):
        found = []
        for nlp in pipelines:
            docs: list[Doc] = []
            prediction = predict_texts(nlp, turn, batch_size=nlp.batch_size, on_doc=docs.append)
            found.append((prediction, docs))
        yield found


def measure_parts(
    nlp: Language, texts: Sequence[str], *, batch_size: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Measure the `parts` and the `work` of a `Measurement`."""
    wordpiecer = find_component(nlp, TransformersWordPiecer)
    encoder = find_component(nlp, TransformersTok2Vec)
    device = torch.device("cpu") if encoder is None else encoder.model.shim.device
    watches = {name: Stopwatch(device) for name in ("tokenizer", *nlp.pipe_names)}
    pieces, forward = Stopwatch(device), Stopwatch(device)
    with (
        _timed(doc_pieces, "encode", pieces),
        _timed(encoder and encoder.model.shim, "encode", forward),
    ):
        for batch in minibatch(texts, size=batch_size):
            with watches["tokenizer"]:
                docs = [nlp.make_doc(text) for text in batch]
            for name, pipe in nlp.pipeline:
                with watches[name]:
                    docs = _run(pipe, docs, batch_size)
    parts = {name: watch.seconds for name, watch in watches.items()}
    if wordpiecer is None or encoder is None:
        return parts, {}
    both = sum(parts[name] for name, pipe in nlp.pipeline if pipe in (wordpiecer, encoder))
    work = {"wordpieces": pieces.seconds, "encoder": forward.seconds}
    return parts, {**work, "bookkeeping": both - sum(work.values())}


class Stopwatch:
    """Sum of the time spent in its `with` blocks; blocks of several threads at once count once.

    Args:
        device: The device whose work is measured.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
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
        if self.device.type != "cpu":
            # Kernels run asynchronously.
            torch.accelerator.synchronize(self.device)
        with self._lock:
            self._running -= 1
            if self._running == 0:
                self.seconds += time.perf_counter() - self._since


@contextmanager
def _timed(owner: Any, name: str, watch: Stopwatch) -> Iterator[None]:
    """Time the calls of a function of an object or module, if there is one."""
    if owner is None:
        yield
        return
    original = getattr(owner, name)

    def call(*args: Any) -> Any:
        with watch:
            return original(*args)

    with patch.object(owner, name, call):
        yield


def _run(pipe: Callable[[Doc], Doc], docs: list[Doc], batch_size: int) -> list[Doc]:
    if hasattr(pipe, "pipe"):
        return list(pipe.pipe(docs, batch_size=batch_size))
    return [pipe(doc) for doc in docs]


def _warm_up(nlp: Language, texts: Sequence[str], batch_size: int) -> None:
    predict_texts(nlp, texts[:_WARM_UP_TEXTS], batch_size=batch_size)
