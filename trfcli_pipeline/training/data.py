"""Reading of the training set and the dev set."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from trfcli_pipeline.curation.self_training import MOST_UNLABELED
from trfcli_pipeline.data.corrections import Corrections
from trfcli_pipeline.data.dataset import DataSource, ReadingOptions, as_dataset
from trfcli_pipeline.data.duplicates import normal_form
from trfcli_pipeline.data.labels import check_labels, is_exclusive, label_names
from trfcli_pipeline.data.reading import Reading
from trfcli_pipeline.data.reading.columns import PAIR_MARK
from trfcli_pipeline.data.reading.tracking import track_reading
from trfcli_pipeline.data.record_store import RecordStore, Selection
from trfcli_pipeline.data.records import Record, where
from trfcli_pipeline.data.splitting import stratified_split
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import TrainingConfig, read_config

# What divides the texts of a pair for the encoder.
_SEPARATOR = "components.trf_wordpiecer.separator"
# Bytes of memory for the records of a file; the rest are kept on disk.
_MEMORY = 2**30
# In a smaller dev set, chance decides which score is highest.
_FEW_DEV_TEXTS = 20
# The default dev set. More texts would hardly make its scores more precise.
_DEV_SHARE, _MOST_DEV_TEXTS = 0.1, 10_000


@dataclass(frozen=True)
class Data:
    """The training set and the dev set.

    Attributes:
        dev_origin: Where the dev texts come from, as a phrase.
        labels: Labels of all training texts in the file, even if only some of them are used.
        dev_decides: Whether the dev set decides which weights are kept: if it is large enough,
            or the user's own choice.
        n_available: Number of texts that the training set was drawn from.
        unlabeled: Texts without labels to learn from.
    """

    train: Sequence[Record]
    dev: Sequence[Record]
    dev_origin: str
    labels: list[str]
    dev_decides: bool
    n_available: int
    unlabeled: Sequence[Record] = ()

    @cached_property
    def label_counts(self) -> Mapping[str, int]:
        """Number of training texts with each label."""
        counts = Counter(label for record in self.train for label in record.labels)
        return {label: counts[label] for label in self.labels}

    @cached_property
    def has_several_labels(self) -> bool:
        """Whether any training text has several labels."""
        return any(len(record.labels) > 1 for record in self.train)


def read_data(
    train: DataSource,
    dev: DataSource | None,
    arguments: TrainingArguments,
    *,
    unlabeled: DataSource | None = None,
    n_processes: int = 1,
) -> tuple[Data, TrainingConfig]:
    """Read and check the texts, and fit the config to them.

    Raises:
        DataError: The texts or the config file can't be used.
        ArgumentError: An override can't be used.
    """
    train = _with_settings(train, "train", arguments)
    dev = None if dev is None else _with_settings(dev, "dev", arguments)
    corrections = None if arguments.corrections is None else Corrections.read(arguments.corrections)
    files: dict[DataSource, Sequence[Record]] = {}
    for source in [train] if dev is None else [train, dev]:
        reading = Reading(source, labeled=True)
        records = track_reading(reading, source)
        if corrections is not None and source is train:
            records = corrections.apply(records)
        files[source] = RecordStore(records, room=_MEMORY // n_processes)
        if not any(record.cats for record in files[source]):
            raise DataError(f"{source}: no text has a label", hint="A classifier needs examples")
        if reading.has_pairs and _SEPARATOR not in arguments.overrides:
            overrides = {**arguments.overrides, _SEPARATOR: PAIR_MARK}
            arguments = replace(arguments, overrides=overrides)
    if corrections is not None:
        corrections.check(data=str(train))
    exclusive = arguments.is_exclusive()
    if exclusive is None:
        exclusive = is_exclusive(files[train])
    if exclusive:
        _check_exclusive(files)
    config = TrainingConfig(arguments, exclusive=exclusive, n_processes=n_processes)
    if corrections is not None:
        config.decisions.append(corrections.summary)
    if dev is None:
        train_records, dev_records, origin = _hold_out(str(train), files[train], config)
    else:
        train_records, dev_records, origin = files[train], files[dev], f"in the dev set ({dev})"
        check_labels(train_records, dev_records, dev_name=str(dev))
    labels, n_available = label_names(train_records), len(train_records)
    if arguments.max_texts is not None and arguments.max_texts < len(train_records):
        drawn = random.Random(config.data_seed).sample(
            range(len(train_records)), arguments.max_texts
        )
        train_records = Selection(train_records, drawn)
    config.fit(len(train_records))
    dev_decides = dev is not None or len(dev_records) >= _FEW_DEV_TEXTS
    if not dev_decides:
        config.decisions.append(
            f"Fewer than {_FEW_DEV_TEXTS} dev texts are too few to choose a checkpoint by: the "
            "final model will be kept (--dev)"
        )
    data = Data(train_records, dev_records, origin, labels, dev_decides, n_available)
    if unlabeled is not None:
        data = replace(data, unlabeled=_draw_unlabeled(unlabeled, data, config.data_seed))
    return data, config


def _draw_unlabeled(source: DataSource, data: Data, seed: int) -> list[Record]:
    """Read texts without labels, and draw some of them if there are many.

    Texts of the training set and the dev set are left out.
    """
    labeled = {normal_form(record.text) for part in (data.train, data.dev) for record in part}
    rng, found, seen = random.Random(seed), list[Record](), 0
    for record in track_reading(Reading(source, labeled=False), source):
        if not record.text.strip() or normal_form(record.text) in labeled:
            continue
        seen += 1
        # Each text ends up among the drawn ones with the same probability (reservoir sampling).
        place = len(found) if len(found) < MOST_UNLABELED else rng.randrange(seen)
        if place < MOST_UNLABELED:
            found[place : place + 1] = [record]
    if not found:
        raise DataError(
            f"{source}: no text that isn't labeled already", hint="Leave out --unlabeled"
        )
    return found


def _with_settings(source: DataSource, corpus: str, arguments: TrainingArguments) -> DataSource:
    """Read a data set as the config file says in its section for a corpus."""
    if arguments.config is None:
        return source
    section = read_config(arguments.config).get("corpora", {}).get(corpus, {})
    data = as_dataset(source)
    return replace(data, options=data.options.completed(ReadingOptions.of(section)))


def _check_exclusive(files: Mapping[DataSource, Sequence[Record]]) -> None:
    """Check that exactly one of several labels applies to each text, the training set first."""
    for records in files.values():
        odd = next((each for each in records if len(each.labels) != 1), None)
        if odd is not None:
            raise DataError(
                f"{where(odd)}: {len(odd.labels) or 'no'} labels, "
                "but every text should have exactly one",
                hint="Train with --multilabel, or correct the data",
            )
    train, records = next(iter(files.items()))
    if len(label_names(records)) == 1:
        raise DataError(
            f"{train}: all texts have the same label, {label_names(records)[0]}",
            hint="A classifier needs texts of at least two labels",
        )


def _hold_out(
    path: str, records: Sequence[Record], config: TrainingConfig
) -> tuple[Sequence[Record], Sequence[Record], str]:
    """Hold out some texts as the dev set, and say so in a phrase."""
    share = config.arguments.dev_split or min(_DEV_SHARE, _MOST_DEV_TEXTS / len(records))
    train, dev = stratified_split(records, share, config.data_seed)
    if not dev:
        raise DataError(
            f"{path}: too few texts to hold some out as the dev set",
            hint="Give a file with --dev",
        )
    origin = f"held out as the dev set (stratified {100 * share:.3g} %, seed {config.data_seed})"
    return train, dev, origin
