"""The training texts as examples with wordpieces, of which memory may hold only some."""

from array import array
from collections.abc import Iterable, Iterator, Sequence

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch

from trfcli_pipeline.data.batching import Entry, make_examples
from trfcli_pipeline.data.records import Record

# What an example takes in memory by itself, and for each wordpiece: spaCy's Docs are no small ones.
_EXAMPLE_BYTES, _PIECE_BYTES = 14_000, 460
_CHUNK = 256


class Examples:
    """Examples whose Docs have what stays the same from epoch to epoch.

    That is sentences and wordpieces; with a frozen encoder also its output. It is made once for as
    many as there is room for; for the others anew each time that they are taken.

    Args:
        encode: Whether the Docs get the encoder's output.
        room: The most bytes of memory that the examples should take.
    """

    def __init__(
        self,
        nlp: Language,
        records: Sequence[Record],
        labels: Sequence[str],
        *,
        exclusive: bool,
        encode: bool,
        room: int,
    ) -> None:
        self.nlp = nlp
        self.records = records
        self.labels = labels
        self.exclusive = exclusive
        self.encode = encode
        self.n_tokens = array("L")
        self.n_pieces = array("L")
        self._kept: list[Example] = []
        for chunk in minibatch(records, _CHUNK):
            for example in self._make(chunk):
                doc = example.predicted
                self.n_tokens.append(len(doc))
                self.n_pieces.append(len(doc._.trf_word_pieces))
                room -= _size(doc)
                if room >= 0:
                    self._kept.append(example)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def n_kept(self) -> int:
        """How many are in memory: the first ones."""
        return len(self._kept)

    def entries(self, indices: Iterable[int]) -> Iterator[Entry]:
        """What stands for some examples where they are put into batches."""
        for index in indices:
            yield Entry(index, self.n_tokens[index], self.n_pieces[index])

    def take(self, indices: Sequence[int]) -> list[Example]:
        """Some of the examples, in the order asked for."""
        missing = [index for index in indices if index >= self.n_kept]
        examples = self._make([self.records[index] for index in missing]) if missing else []
        made = dict(zip(missing, examples, strict=True))
        return [made[index] if index in made else self._kept[index] for index in indices]

    def _make(self, records: Sequence[Record]) -> list[Example]:
        examples = make_examples(self.nlp, records, self.labels, exclusive=self.exclusive)
        last = "trf_tok2vec" if self.encode else "trf_wordpiecer"
        run_up_to(self.nlp, last, [example.predicted for example in examples])
        return examples


def run_up_to(nlp: Language, last: str, docs: Iterable[Doc]) -> list[Doc]:
    """Run the pipeline on Docs as far as a component."""
    enabled = nlp.pipe_names[: nlp.pipe_names.index(last) + 1]
    with nlp.select_pipes(enable=enabled):
        return list(nlp.pipe(docs))


def _size(doc: Doc) -> int:
    arrays = sum(getattr(value, "nbytes", 0) for value in (doc.tensor, *doc.user_data.values()))
    return _EXAMPLE_BYTES + _PIECE_BYTES * len(doc._.trf_word_pieces) + arrays
