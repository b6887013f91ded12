"""This project as a contestant."""

import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import contest

from trfcli.running import limit_spinning

# ruff: noqa: E402 - as in the commands, this comes before anything imports torch.
limit_spinning()

import spacy

from trfcli_pipeline.tasks.evaluate import evaluate
from trfcli_pipeline.tasks.speed import measure_pipeline
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.events import Planned, Stepped, TrainingEvent
from trfcli_pipeline.training.train import train_textcat


def encode(
    model: str, texts: str, limit: int | None, batch_size: int, copies: int = 1
) -> dict[str, Any]:
    found = contest.read_texts(texts, limit) * copies
    measured = measure_pipeline(model, found, batch_size=batch_size)
    return {
        "words_per_s": contest.n_words(found) / measured.seconds,
        "seconds": measured.seconds,
        "peak_mb": measured.peak_megabytes,
        "bookkeeping": measured.work["bookkeeping"] / sum(measured.parts.values()),
    }


def train(encoder: str, data: str, limit: int | None, batch_size: int) -> dict[str, Any]:
    """Update an encoder together with our classifier."""
    nlp = spacy.blank("trf")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": encoder, "segments": "windows"})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": encoder})
    nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    return contest.update_speed(nlp, data, limit, batch_size)


def train_command(model: str, data: str, limit: int | None, batch_size: int) -> dict[str, Any]:
    """Run one epoch of `trf train-textcat`: batches of similar length, no dropout."""
    arguments = TrainingArguments(
        epochs=1, batch_size=batch_size, max_texts=limit, checkpoint_every=0
    )
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "model")
        plan, seconds = _time_steps(
            train_textcat(model, f"{data}/train.jsonl", output=output, arguments=arguments)
        )
    return {
        "texts": len(plan.data.train),
        "texts_per_s": len(plan.data.train) / seconds,
        "train_s": seconds,
        "peak_mb": contest.peak_mb(),
    }


def textcat(
    model: str,
    data: str,
    output: str,
    seed: int,
    epochs: int | None,
    batch_size: int | None,
    limit: int | None,
) -> dict[str, Any]:
    """Train as `trf train-textcat` does, and score on the test set."""
    dev = Path(data) / "dev.jsonl"
    arguments = TrainingArguments(seed=seed, epochs=epochs, batch_size=batch_size, max_texts=limit)
    plan, seconds = _time_steps(
        train_textcat(
            model,
            f"{data}/train.jsonl",
            dev=str(dev) if dev.exists() else None,
            output=Path(output),
            arguments=arguments,
        )
    )
    metrics = {
        "texts": len(plan.data.train),
        "epochs": plan.config.steps // math.ceil(len(plan.data.train) / plan.config.batch_size),
        "train_s": seconds,
        "peak_mb": contest.peak_mb(),
    }
    return {**score(output, data), **metrics}


def score(model: str, data: str) -> dict[str, Any]:
    """Score a trained pipeline on the test set."""
    result, _ = evaluate(model, f"{data}/test.jsonl", batch_size=128)
    main = "accuracy" if result.exclusive_classes else "micro_f"
    return {main: getattr(result, main), "macro_f": result.macro_f}


def _time_steps(events: Iterator[TrainingEvent]) -> tuple[Planned, float]:
    """Run a training, and return its plan and the seconds of its steps.

    Reading, evaluation on the dev set, and saving don't count.
    """
    plan = next(event for event in events if isinstance(event, Planned))
    seconds, start = 0.0, time.perf_counter()
    for event in events:
        if isinstance(event, Stepped):
            seconds += time.perf_counter() - start
        start = time.perf_counter()
    return plan, seconds


if __name__ == "__main__":
    contest.main(encode, train, train_command, textcat, score)
