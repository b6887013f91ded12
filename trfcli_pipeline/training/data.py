"""Reading of the training set and the dev set."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from trfcli_pipeline.data.labels import check_labels, is_exclusive, label_names
from trfcli_pipeline.data.record_store import RecordStore, Selection
from trfcli_pipeline.data.records import Record, iter_records, where
from trfcli_pipeline.data.splitting import stratified_split
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import TrainingConfig

# Bytes of memory for the records of a file; the rest are kept on disk.
_MEMORY = 2**30
# In a smaller dev set, chance decides which score is highest.
_FEW_DEV_TEXTS = 20
# The default dev set. More texts would hardly make its scores more precise.
_DEV_SHARE, _MOST_DEV_TEXTS = 0.1, 10_000


@dataclass(frozen=True, slots=True)
class Data:
    """The training set and the dev set.

    Attributes:
        dev_origin: Where the dev texts come from, as a phrase.
        labels: Labels of all training texts in the file, even if only some of them are used.
        dev_decides: Whether the dev set decides which weights are kept: if it is large enough,
            or the user's own choice.
    """

    train: Sequence[Record]
    dev: Sequence[Record]
    dev_origin: str
    labels: list[str]
    dev_decides: bool


def read_data(
    train: str, dev: str | None, arguments: TrainingArguments, *, n_processes: int = 1
) -> tuple[Data, TrainingConfig]:
    """Read and check the texts, and fit the config to them.

    Raises:
        DataError: The texts or the config file can't be used.
        ArgumentError: An override can't be used.
    """
    train_records = _read(train, _MEMORY // n_processes)
    dev_records = None if dev is None else _read(dev, _MEMORY // n_processes)
    exclusive = _check_exclusive(train, train_records, dev, dev_records, arguments)
    config = TrainingConfig(arguments, exclusive=exclusive, n_processes=n_processes)
    train_records, dev_records, origin = _split(train, train_records, dev, dev_records, config)
    labels = label_names(train_records)
    if arguments.max_texts is not None and arguments.max_texts < len(train_records):
        drawn = random.Random(config.seed).sample(range(len(train_records)), arguments.max_texts)
        train_records = Selection(train_records, drawn)
    config.fit(len(train_records))
    dev_decides = dev is not None or len(dev_records) >= _FEW_DEV_TEXTS
    if not dev_decides:
        config.decisions.append(
            f"Fewer than {_FEW_DEV_TEXTS} dev texts are too few to choose a checkpoint by: the "
            "final model will be kept (--dev)"
        )
    return Data(train_records, dev_records, origin, labels, dev_decides), config


def _read(path: str, memory: int) -> Sequence[Record]:
    return RecordStore(iter_records(path, labeled=True), room=memory)


def _check_exclusive(
    train: str,
    train_records: Sequence[Record],
    dev: str | None,
    dev_records: Sequence[Record] | None,
    arguments: TrainingArguments,
) -> bool:
    """Whether exactly one label applies to each text, by the user's word or by the data."""
    wanted = arguments.is_exclusive()
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


def _split(
    train: str,
    train_records: Sequence[Record],
    dev: str | None,
    dev_records: Sequence[Record] | None,
    config: TrainingConfig,
) -> tuple[Sequence[Record], Sequence[Record], str]:
    """The training records, the dev records, and where these come from."""
    if dev_records is not None:
        check_labels(train_records, dev_records, dev_name=str(dev))
        return train_records, dev_records, f"in the dev set ({dev})"
    share = config.arguments.dev_split or min(_DEV_SHARE, _MOST_DEV_TEXTS / len(train_records))
    train_records, dev_records = stratified_split(train_records, share, config.seed)
    if not dev_records:
        raise DataError(
            f"{train}: too few texts to hold some out as the dev set",
            hint="Give a file with --dev, or a larger --dev-split",
        )
    origin = f"held out as the dev set (stratified {100 * share:.3g} %, seed {config.seed})"
    return train_records, dev_records, origin
