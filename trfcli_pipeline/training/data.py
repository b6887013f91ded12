"""Reads what to train on, and holds out what to choose the best state by."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from trfcli_pipeline.data.labels import check_labels, is_exclusive, label_names
from trfcli_pipeline.data.record_store import RecordStore, Selection
from trfcli_pipeline.data.records import Record, iter_records, where
from trfcli_pipeline.data.splitting import stratified_split
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.training.config import TrainingArguments, TrainingConfig

# Bytes of memory for the records of a file; those beyond it wait on disk.
_ROOM = 2**30
# Of fewer held-out texts, chance decides which state is best.
_FEW_DEV_TEXTS = 20
# What is held out unless the user says how much: more texts would hardly change the scores.
_HELD_OUT, _MOST_HELD_OUT = 0.1, 10_000


@dataclass(frozen=True, slots=True)
class Data:
    """What to train on and what to choose the best state by.

    Attributes:
        dev_origin: Where the dev texts come from, as a phrase.
        labels: Of all training texts that there are, also where only some of these are used.
        dev_decides: Whether dev is large enough to choose a state by, or the user's own choice.
    """

    train: Sequence[Record]
    dev: Sequence[Record]
    dev_origin: str
    labels: list[str]
    dev_decides: bool


def read_data(
    train: str, dev: str | None, settings: TrainingArguments, *, n_processes: int = 1
) -> tuple[Data, TrainingConfig]:
    """Read and check the texts, and make the recipe for them."""
    train_records = _read(train, _ROOM // n_processes)
    dev_records = None if dev is None else _read(dev, _ROOM // n_processes)
    exclusive = _check_exclusive(train, train_records, dev, dev_records, settings)
    recipe = TrainingConfig(settings, exclusive=exclusive, n_processes=n_processes)
    train_records, dev_records, origin = _parts(train, train_records, dev, dev_records, recipe)
    labels = label_names(train_records)
    if settings.max_texts is not None and settings.max_texts < len(train_records):
        drawn = random.Random(recipe.seed).sample(range(len(train_records)), settings.max_texts)
        train_records = Selection(train_records, drawn)
    recipe.fit(len(train_records))
    decides = dev is not None or len(dev_records) >= _FEW_DEV_TEXTS
    if not decides:
        origin += ", too few to choose by: the last state is kept"
    return Data(train_records, dev_records, origin, labels, decides), recipe


def _read(path: str, room: int) -> Sequence[Record]:
    return RecordStore(iter_records(path, labelled=True), room=room)


def _check_exclusive(
    train: str,
    train_records: Sequence[Record],
    dev: str | None,
    dev_records: Sequence[Record] | None,
    settings: TrainingArguments,
) -> bool:
    """Whether exactly one label holds for a text, as the user says or the data shows."""
    wanted = settings.exclusive
    if not (is_exclusive(train_records) if wanted is None else wanted):
        return False
    for name, records in ((train, train_records), (str(dev), dev_records or ())):
        odd = next((each for each in records if len(each.labels) != 1), None)
        if odd is not None:
            raise DataError(
                f"{where(name, odd.line)}: {len(odd.labels) or 'no'} labels, "
                "but every text should have exactly one",
                hint="Train with --multilabel, or correct the data",
            )
    if len(label_names(train_records)) == 1:
        raise DataError(
            f"{train}: all texts have the same label, {label_names(train_records)[0]}",
            hint="A classifier needs texts of at least two labels",
        )
    return True


def _parts(
    train: str,
    train_records: Sequence[Record],
    dev: str | None,
    dev_records: Sequence[Record] | None,
    recipe: TrainingConfig,
) -> tuple[Sequence[Record], Sequence[Record], str]:
    """The records to train on, those to choose the best state by, and where these come from."""
    settings = recipe.settings
    if dev_records is None:
        share = settings.dev_split or min(_HELD_OUT, _MOST_HELD_OUT / len(train_records))
        train_records, dev_records = stratified_split(train_records, share, recipe.seed)
        origin = f"held out, stratified {100 * share:.3g} %, seed {recipe.seed}"
        if not dev_records:
            raise DataError(
                f"{train}: too few texts to hold some out for dev",
                hint="Give a file with --dev, or a larger --dev-split",
            )
    else:
        origin = f"from {dev}"
        check_labels(train_records, dev_records, dev_name=str(dev))
    return train_records, dev_records, origin
