"""The reader and batcher for training configs: `trfcli.Corpus.v1`, `trfcli.batch_by_length.v1`."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from spacy.language import Language
from spacy.training import Example
from spacy.util import minibatch, registry

from trfcli_pipeline.data.dataset import DataSet, ReadingOptions
from trfcli_pipeline.data.labels import complete_cats, is_exclusive, label_names
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError

# Batches to sort by length together. More batches mean less padding, fewer mean more random
# batches.
_BATCHES_PER_CHUNK = 16

Item = TypeVar("Item", Example, "ExampleSize")


def make_examples(
    nlp: Language, records: Sequence[Record], labels: Sequence[str], *, exclusive: bool
) -> list[Example]:
    """Convert labeled records to examples, with a value for every known label."""
    return [
        Example.from_dict(
            nlp.make_doc(record.text), {"cats": complete_cats(record, labels, exclusive)}
        )
        for record in records
    ]


@dataclass(frozen=True, slots=True)
class ExampleSize:
    """A stand-in for an example in a batcher, when the examples don't fit into memory.

    Attributes:
        index: Index of the example.
        n_tokens, n_pieces: Number of tokens and wordpieces of its predicted Doc.
    """

    index: int
    n_tokens: int
    n_pieces: int

    def __len__(self) -> int:
        return self.n_tokens


@registry.readers("trfcli.Corpus.v1")
def create_reader(
    path: Path | None,
    text_column: str | list[str] | None = None,
    label_column: str | list[str] | None = None,
    label_separator: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    quoting: str | None = None,
    skip_unlabeled: bool = False,
) -> Callable[[Language], Iterator[Example]]:
    """Create a reader of labeled texts, in any format that `read_records` reads.

    Args:
        path: A data file, a directory or a pattern; see `DataSet.sources`.
        text_column, label_column, label_separator, delimiter, encoding, quoting, skip_unlabeled:
            The layout of the file; see `ReadingOptions`.
    """
    options = ReadingOptions.of(
        {
            "text_column": text_column,
            "label_column": label_column,
            "label_separator": label_separator,
            "delimiter": delimiter,
            "encoding": encoding,
            "quoting": quoting,
            "skip_unlabeled": skip_unlabeled,
        }
    )

    def read(nlp: Language) -> Iterator[Example]:
        if path is None:
            raise DataError(
                "The config names no data file", hint="Set --paths.train and --paths.dev"
            )
        records = read_records(DataSet((str(path),), options), labeled=True)
        yield from make_examples(
            nlp, records, label_names(records), exclusive=is_exclusive(records)
        )

    return read


@registry.batchers("trfcli.batch_by_length.v1")
def create_batcher(size: int) -> Callable[[Iterable[Item]], Iterator[list[Item]]]:
    """Create a batcher that groups examples of similar length, in random order.

    Length is the number of wordpieces, or of tokens if there are no wordpieces yet. The order comes
    from Python's `random`, which `spacy.util.fix_random_seed` seeds.

    Args:
        size: Number of examples (or entries for them) per batch.
    """

    def batch_by_length(examples: Iterable[Item]) -> Iterator[list[Item]]:
        for chunk in minibatch(examples, size * _BATCHES_PER_CHUNK):
            batches = list(minibatch(sorted(chunk, key=_length), size))
            random.shuffle(batches)
            yield from batches

    return batch_by_length


def _length(example: Example | ExampleSize) -> int:
    if isinstance(example, ExampleSize):
        return example.n_pieces
    pieces = example.predicted._.trf_word_pieces
    return len(example.predicted) if pieces is None else len(pieces)
