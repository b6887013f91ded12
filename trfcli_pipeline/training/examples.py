"""Training examples with wordpieces, kept in memory as far as there is room."""

from array import array
from collections.abc import Iterable, Iterator, Sequence

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch

from trfcli_pipeline.data.batching import ExampleSize, make_examples
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.pipeline.running import run_up_to
from trfcli_pipeline.progress import track

# Bytes of memory per example, and further bytes per wordpiece, measured on spaCy's Docs.
_EXAMPLE_BYTES, _PIECE_BYTES = 14_000, 460
_CHUNK = 256


class Examples:
    """Examples whose Docs already have sentences and wordpieces.

    With a frozen encoder they have its output as well. Examples that don't fit in memory are
    processed again whenever they are taken.

    Args:
        encode: Whether to run the encoder on the Docs.
        memory: Maximum memory for the examples, in bytes.

    Attributes:
        n_tokens, n_pieces: Number of tokens and wordpieces of each example.
        n_known: Number of labels of each example of which it is known whether they apply.
    """

    def __init__(
        self,
        nlp: Language,
        records: Sequence[Record],
        labels: Sequence[str],
        *,
        exclusive: bool,
        encode: bool,
        memory: int,
    ) -> None:
        self.nlp = nlp
        self.records = records
        self.labels = labels
        self.exclusive = exclusive
        self.encode = encode
        self.n_tokens = array("L")
        self.n_pieces = array("L")
        self.n_known = array("L")
        self._kept: list[Example] = []
        title = "Encoding the texts" if encode else "Tokenizing the texts"
        tracked = track(records, title, total=len(records), unit="texts")
        for chunk in minibatch(tracked, _CHUNK):
            for example in self._make(chunk):
                doc = example.predicted
                self.n_tokens.append(len(doc))
                self.n_pieces.append(len(doc._.trf_word_pieces))
                self.n_known.append(len(example.reference.cats))
                memory -= _size(doc)
                if memory >= 0:
                    self._kept.append(example)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def n_kept(self) -> int:
        """Number of examples kept in memory: the first ones."""
        return len(self._kept)

    @property
    def mean_length(self) -> float:
        """Mean number of wordpieces of an example."""
        return sum(self.n_pieces) / len(self)

    def entries(self, indices: Iterable[int]) -> Iterator[ExampleSize]:
        """Lightweight stand-ins for examples, for the batcher."""
        for index in indices:
            yield ExampleSize(index, self.n_tokens[index], self.n_pieces[index])

    def take(self, indices: Sequence[int]) -> list[Example]:
        """The examples with these indices, in this order."""
        missing = [index for index in indices if index >= self.n_kept]
        examples = self._make([self.records[index] for index in missing]) if missing else []
        made = dict(zip(missing, examples, strict=True))
        return [made[index] if index in made else self._kept[index] for index in indices]

    def _make(self, records: Sequence[Record]) -> list[Example]:
        examples = make_examples(self.nlp, records, self.labels, exclusive=self.exclusive)
        last = "trf_tok2vec" if self.encode else "trf_wordpiecer"
        run_up_to(self.nlp, last, [example.predicted for example in examples])
        return examples


def _size(doc: Doc) -> int:
    arrays = sum(getattr(value, "nbytes", 0) for value in (doc.tensor, *doc.user_data.values()))
    return _EXAMPLE_BYTES + _PIECE_BYTES * len(doc._.trf_word_pieces) + arrays
