from pathlib import Path

import pytest
from classifiers import make, multilingual
from labeled import make_records
from spacy.language import Language

from trfcli_pipeline.data.records import Record
from trfcli_pipeline.training.examples import Examples

RECORDS = make_records(
    ("I love this film.", "GOOD"),
    ("I hate this film. It is a bore!", "BAD"),
    ("", "GOOD"),
    ("a terrible dog", "BAD"),
)


@pytest.fixture(scope="module")
def nlp(tiny_bert: Path) -> Language:
    return make(multilingual(), tiny_bert)


def made(nlp: Language, records: list[Record], memory: int, *, encode: bool = False) -> Examples:
    return Examples(nlp, records, ["GOOD", "BAD"], exclusive=True, encode=encode, memory=memory)


@pytest.mark.parametrize(("memory", "n_kept"), [(0, 0), (45_000, 2), (10**6, 4)])
def test_examples_are_the_same_whether_kept_or_made_again(
    nlp: Language, memory: int, n_kept: int
) -> None:
    examples = made(nlp, RECORDS, memory)
    assert len(examples) == len(RECORDS)
    assert examples.n_kept == n_kept
    taken = examples.take([3, 0, 1, 2])
    assert [each.text for each in taken] == [RECORDS[index].text for index in (3, 0, 1, 2)]
    assert [each.reference.cats["BAD"] for each in taken] == [1.0, 0.0, 1.0, 0.0]
    docs = [each.predicted for each in taken]
    assert [len(doc) for doc in docs] == [examples.n_tokens[index] for index in (3, 0, 1, 2)]
    pieces = [len(doc._.trf_word_pieces) for doc in docs]
    assert pieces == [examples.n_pieces[index] for index in (3, 0, 1, 2)]
    assert pieces[2] > pieces[0] > 0
    assert [len(list(doc.sents)) for doc in docs[:3]] == [1, 1, 2]
    assert all(doc._.trf_last_hidden_state is None for doc in docs)


@pytest.mark.parametrize("memory", [0, 10**6])
def test_docs_can_have_the_output_of_a_frozen_encoder(nlp: Language, memory: int) -> None:
    examples = made(nlp, RECORDS, memory, encode=True)
    for example, number in zip(examples.take(range(4)), examples.n_pieces, strict=True):
        assert len(example.predicted._.trf_last_hidden_state) == number


def test_kept_examples_are_made_once(nlp: Language) -> None:
    [kept], [missing] = (made(nlp, RECORDS, memory).take([0]) for memory in (10**6, 0))
    examples, other = made(nlp, RECORDS, 10**6), made(nlp, RECORDS, 0)
    assert examples.take([0])[0] is examples.take([0])[0]
    assert other.take([0])[0] is not other.take([0])[0]
    assert kept.predicted._.trf_word_pieces == missing.predicted._.trf_word_pieces


def test_entries_have_the_lengths_of_their_examples(nlp: Language) -> None:
    examples = made(nlp, RECORDS, 0)
    entries = list(examples.entries([2, 1]))
    assert [entry.index for entry in entries] == [2, 1]
    assert [len(entry) for entry in entries] == [0, examples.n_tokens[1]]
    assert entries[1].n_pieces == examples.n_pieces[1]
