from pathlib import Path
from typing import Any

import pytest
import spacy
from textcats import make

from trfcli_pipeline.errors import ArgumentError, DataError, OutputError, PipelineError
from trfcli_pipeline.evaluation.explanation import Explanation
from trfcli_pipeline.tasks.explain import explain
from trfcli_pipeline.tasks.faithfulness import measure_faithfulness

TEXT = "Apple pie is delicious!"


@pytest.fixture(scope="module")
def exclusive(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "exclusive"
    make(tiny_bert, exclusive_classes=True).to_disk(path)
    return str(path)


@pytest.fixture(scope="module")
def multilabel(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "multilabel"
    make(tiny_bert).to_disk(path)
    return str(path)


def explained(model: str, *texts: str, **options: Any) -> list[Explanation]:
    return [each for each in explain(model, texts, **options) if isinstance(each, Explanation)]


def test_predicted_label(exclusive: str) -> None:
    (found,) = explained(exclusive, TEXT)
    assert found.text == TEXT
    assert found.is_predicted
    assert found.score > 1 / 3
    assert abs(found.remainder) <= 0.011


def test_given_label(exclusive: str) -> None:
    (predicted,) = explained(exclusive, TEXT)
    labels = {"FRUIT", "DOG", "FILM"} - {predicted.label}
    for label in labels:
        (found,) = explained(exclusive, TEXT, label=label, steps=2)
        assert (found.label, found.is_predicted, found.steps) == (label, False, 2)


def test_each_label_that_applies(multilabel: str) -> None:
    found = explained(multilabel, TEXT, threshold=0.0, steps=1)
    assert {each.label for each in found} == {"FRUIT", "DOG", "FILM"}
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)


def test_highest_label_if_none_applies(multilabel: str) -> None:
    (found,) = explained(multilabel, TEXT, threshold=1.0, steps=1)
    assert not found.is_predicted


def test_unknown_label(exclusive: str) -> None:
    with pytest.raises(ArgumentError, match="CAT: not a label of this model"):
        explain(exclusive, [TEXT], label="CAT")


def test_page(exclusive: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    explained(exclusive, TEXT, html=path)
    assert "delicious" in path.read_text()
    explained(exclusive, "The lazy dog", html=path)
    assert "delicious" not in path.read_text()


def test_file_of_the_user_is_kept(exclusive: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(OutputError):
        explain(exclusive, [TEXT], html=path)
    assert path.read_text() == "mine"


def test_classifier_of_spacy(tiny_bert: Path, tmp_path: Path) -> None:
    nlp = make(tiny_bert)
    nlp.remove_pipe("trf_textcat")
    nlp.add_pipe("textcat").add_label("A")
    nlp.get_pipe("textcat").add_label("B")
    nlp.initialize()
    nlp.to_disk(tmp_path / "model")
    with pytest.raises(PipelineError, match="only predictions of trf_textcat"):
        explain(str(tmp_path / "model"), [TEXT])


def test_faithfulness(exclusive: str, tmp_path: Path) -> None:
    data = tmp_path / "texts.jsonl"
    texts = [TEXT, "I love this film, it is great fun.", "The lazy dog jumps over it", "fun"]
    data.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    found = measure_faithfulness(exclusive, data)
    assert (found.n_texts, found.n_short, found.n_deleted, found.draws) == (3, 1, 3, 5)
    (low, high) = found.top_interval
    assert -1 <= low <= found.top_drop <= high <= 1
    assert measure_faithfulness(exclusive, data) == found
    assert measure_faithfulness(exclusive, data, max_texts=2).n_texts <= 2


def test_drop_without_the_top_tokens(exclusive: str, tmp_path: Path) -> None:
    text = "I love this film"
    data = tmp_path / "texts.jsonl"
    data.write_text(f'{{"text": "{text}"}}\n')
    nlp = spacy.load(exclusive)
    doc = nlp(text)
    label = max(doc.cats, key=lambda each: doc.cats[each])
    # Without the three that add most, one token is left.
    (kept,) = [doc[int(doc._.trf_attributions(label).argmin())]]
    drop = doc.cats[label] - nlp(kept.text_with_ws).cats[label]
    found = measure_faithfulness(exclusive, data)
    assert found.top_drop == pytest.approx(drop, abs=1e-5)


def test_faithfulness_needs_long_texts(exclusive: str, tmp_path: Path) -> None:
    data = tmp_path / "texts.jsonl"
    data.write_text('{"text": "Too short"}\n')
    with pytest.raises(DataError, match="no text has more than 3 tokens"):
        measure_faithfulness(exclusive, data)
