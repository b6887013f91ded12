import random
from pathlib import Path

import pytest
import spacy
import srsly
from spacy import registry
from spacy.training import Example

from trfcli_pipeline.data.batching import create_batcher, create_reader, make_examples
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError


def lengths(number: int) -> list[Example]:
    """Examples with 1, 2, 3, ... tokens, shuffled."""
    nlp = spacy.blank("xx")
    examples = [Example.from_dict(nlp.make_doc("a " * n), {}) for n in range(1, number + 1)]
    random.Random(0).shuffle(examples)
    return examples


def test_examples_have_values_for_known_labels() -> None:
    records = [
        Record("one", {"A": 1.0}, 1),
        Record("two", {"B": 1.0}, 2, partial=True),
        Record("three", {}, 3),
    ]
    nlp = spacy.blank("xx")
    apart = make_examples(nlp, records, ["A", "B"], exclusive=False)
    assert [eg.reference.cats for eg in apart] == [
        {"A": 1.0, "B": 0.0},
        # In partial records, missing labels are unknown.
        {"B": 1.0},
        {"A": 0.0, "B": 0.0},
    ]
    together = make_examples(nlp, records[:2], ["A", "B"], exclusive=True)
    assert [eg.reference.cats for eg in together] == [
        {"A": 1.0, "B": 0.0},
        {"A": 0.0, "B": 1.0},
    ]
    assert [eg.predicted.text for eg in apart] == ["one", "two", "three"]
    assert all(not eg.predicted.cats for eg in apart)


def test_batch_has_examples_of_similar_length() -> None:
    batches = list(create_batcher(4)(lengths(32)))
    for batch in batches:
        found = [len(eg.predicted) for eg in batch]
        assert max(found) - min(found) == 3


def test_every_example_occurs_once() -> None:
    examples = lengths(150)
    batches = list(create_batcher(4)(examples))
    assert {len(batch) for batch in batches} == {4, 2}
    assert sorted(id(eg) for batch in batches for eg in batch) == sorted(map(id, examples))


def test_order_of_batches_depends_on_the_seed() -> None:
    examples = lengths(64)
    orders = []
    for seed in (1, 1, 2):
        random.seed(seed)
        orders.append(
            [[len(eg.predicted) for eg in batch] for batch in create_batcher(4)(examples)]
        )
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    # The batches are not sorted by length.
    firsts = [batch[0] for batch in orders[0]]
    assert firsts not in (sorted(firsts), sorted(firsts, reverse=True))


def test_stream_is_read_lazily() -> None:
    taken = 0

    def stream() -> object:
        nonlocal taken
        for example in lengths(400):
            taken += 1
            yield example

    batches = create_batcher(2)(stream())
    next(batches)
    assert taken < 400


def test_no_examples_give_no_batches() -> None:
    assert list(create_batcher(4)([])) == []


def test_reader_yields_examples(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    srsly.write_jsonl(path, [{"text": "one", "label": "A"}, {"text": "two", "label": "B"}])
    read = create_reader(path)
    nlp = spacy.blank("xx")
    expected = [("one", {"A": 1.0, "B": 0.0}), ("two", {"A": 0.0, "B": 1.0})]
    # Readers are called once per epoch.
    for _ in range(2):
        found = [(eg.predicted.text, eg.reference.cats) for eg in read(nlp)]
        assert found == expected


def test_reader_detects_whether_labels_are_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    rows = [{"text": "one", "cats": {"A": 1.0, "B": 1.0}}, {"text": "two", "cats": {"B": 0.0}}]
    srsly.write_jsonl(path, rows)
    found = [eg.reference.cats for eg in create_reader(path)(spacy.blank("xx"))]
    assert found == [{"A": 1.0, "B": 1.0}, {"B": 0.0}]


def test_reader_needs_a_path() -> None:
    with pytest.raises(DataError, match="names no data file") as caught:
        list(create_reader(None)(spacy.blank("xx")))
    assert "--paths.train" in str(caught.value)


def test_reader_and_batcher_are_registered(tmp_path: Path) -> None:
    assert registry.readers.get("trfcli.Corpus.v1") is create_reader
    assert registry.batchers.get("trfcli.batch_by_length.v1") is create_batcher
