"""What this project does."""

import math
import tempfile
from pathlib import Path
from typing import Any

import contest
import spacy

from trfcli_pipeline.data.records import read_records
from trfcli_pipeline.evaluation.classifier import evaluate, find_classifier, gold_cats
from trfcli_pipeline.pipeline.loading import load_pipeline
from trfcli_pipeline.tasks.speed import measure_pipeline
from trfcli_pipeline.training import Planned, Stepped, TrainingArguments, train_textcat


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
    """Updates of the encoder together with our classifier."""
    nlp = spacy.blank("trf")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": encoder, "segments": "windows"})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": encoder})
    nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    return contest.update_speed(nlp, data, limit, batch_size)


def train_command(model: str, data: str, limit: int | None, batch_size: int) -> dict[str, Any]:
    """One epoch of `trf train-textcat`: its batches of like length, without dropout."""
    settings = TrainingArguments(
        epochs=1, batch_size=batch_size, max_texts=limit, checkpoint_every=0
    )
    watch, n_texts = contest.Stopwatch(), 0
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "model")
        for event in train_textcat(model, f"{data}/train.jsonl", output=output, settings=settings):
            match event:
                case Planned():
                    n_texts = event.train_texts
                    watch.seconds = 0.0
                case Stepped():
                    watch.stop()
            watch.start()
    return {
        "texts": n_texts,
        "texts_per_s": n_texts / watch.seconds,
        "seconds": watch.seconds,
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
    """Train as `trf train-textcat` does, and score on the test texts.

    The time is that of the steps: reading, evaluations on dev and saving are left out.
    """
    dev = Path(data) / "dev.jsonl"
    events = train_textcat(
        model,
        f"{data}/train.jsonl",
        dev=str(dev) if dev.exists() else None,
        output=Path(output),
        settings=TrainingArguments(
            seed=seed, epochs=epochs, batch_size=batch_size, max_texts=limit
        ),
    )
    figures: dict[str, Any] = {}
    watch = contest.Stopwatch()
    for event in events:
        match event:
            case Planned():
                batches = math.ceil(event.train_texts / event.batch_size)
                figures = {"texts": event.train_texts, "epochs": event.steps // batches}
                watch.seconds = 0.0
            case Stepped():
                watch.stop()
        watch.start()
    figures |= {"train_s": watch.seconds, "peak_mb": contest.peak_mb()}
    return {**score(output, data), **figures}


def score(model: str, data: str) -> dict[str, Any]:
    """Score a trained pipeline on the test texts."""
    path = f"{data}/test.jsonl"
    records = read_records(path, labelled=True)
    nlp = load_pipeline(model)
    classifier = find_classifier(nlp)
    gold = gold_cats(records, classifier, name=path)
    result = evaluate(nlp, [record.text for record in records], gold)
    main = {"accuracy": result.accuracy} if classifier.exclusive else {"micro_f": result.micro_f}
    return {**main, "macro_f": result.macro_f}


if __name__ == "__main__":
    contest.main(encode, train, train_command, textcat, score)
