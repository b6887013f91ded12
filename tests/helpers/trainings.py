"""Short training runs, and texts for them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import spacy
import srsly
from directories import snapshot

from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import config_path
from trfcli_pipeline.training.events import Finished, Planned, TrainingEvent
from trfcli_pipeline.training.train import train_textcat

WORDS = {
    "FRUIT": ["apple pie", "delicious apple", "apple shares", "a free apple"],
    "FILM": ["this film", "great fun film", "a terrible film", "bore of a film"],
    "DOG": ["the lazy dog", "brown dog", "dog jumps", "quick dog"],
}
TAILS = ["I love it", "I hate it", "Unbelievable", "Call now", "on the news"]
QUICK = TrainingArguments(epochs=2, batch_size=8, seed=1, learn_rate=5e-3)


def rows(*labels: str) -> list[dict[str, Any]]:
    """Twenty texts of each label."""
    return [
        {"text": f"{words}. {tail}!", "label": label}
        for words_and_tail in [
            [(label, words, tail) for words in WORDS[label] for tail in TAILS] for label in labels
        ]
        for label, words, tail in words_and_tail
    ]


def write(path: Path, data: Sequence[dict[str, Any]]) -> str:
    srsly.write_jsonl(path, data)
    return str(path)


def encoder_files(directory: Path) -> dict[str, str]:
    return snapshot(directory / "trf_tok2vec")


def finish(events: Iterator[TrainingEvent]) -> Finished:
    *_, last = events
    assert isinstance(last, Finished)
    return last


def start(*args: Any, **kwargs: Any) -> Planned:
    """The plan of a training run that isn't carried out."""
    events = train_textcat(*args, **kwargs)
    plan = next(events)
    events.close()
    assert isinstance(plan, Planned)
    return plan


def constant_rates(
    path: Path, *, head: float, encoder: float, base: str = "textcat.cfg", **training: Any
) -> Path:
    """A config with constant learning rates."""
    config = spacy.util.load_config(config_path(base), interpolate=False)
    config["training"]["optimizer"].update(learn_rate=head, trf_lr=encoder)
    config["training"].update(training)
    config.to_disk(path)
    return path


def hidden(model: Path) -> Path:
    """The directory of an unfinished training run of the model."""
    return model.parent / f".{model.name}.training"
