from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.curation.features import encode_all, load_encoder
from trfcli_pipeline.curation.pool import encode_pool, read_pool
from trfcli_pipeline.data.duplicates import normal_form
from trfcli_pipeline.data.records import Record


def records_of(*texts: str) -> list[Record]:
    return [Record(text, None, line) for line, text in enumerate(texts, 1)]


def test_copies_labeled_and_blank_texts_are_left_out() -> None:
    texts = records_of("I love it!", "i  LOVE it", "I hate it.", " ", "Fine", "...")
    found = read_pool(texts, ["i hate it"])
    assert [record.line for record in found.records] == [1, 5, 6]
    assert (found.n_read, found.n_labeled, found.n_copies, found.n_blank) == (6, 1, 1, 1)


@given(st.lists(st.text("ab .", max_size=3)), st.lists(st.text("ab .", max_size=3)))
def test_every_text_is_counted_once(texts: list[str], labeled: list[str]) -> None:
    found = read_pool(records_of(*texts), labeled)
    kept = [normal_form(record.text) for record in found.records]
    assert len(set(kept)) == len(kept)
    assert set(kept).isdisjoint(map(normal_form, labeled))
    left_out = found.n_labeled + found.n_copies + found.n_blank
    assert found.n_read == len(texts) == len(kept) + left_out


def test_features_are_those_of_the_encoder(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trfcli_pipeline.curation.features._BATCH", 4)
    monkeypatch.setattr("trfcli_pipeline.pipeline.running._KEPT_WORDS", 0)
    nlp = load_encoder(str(tiny_bert), device="cpu")
    texts = [f"I love film {number}" for number in range(9)]
    features, scores = encode_pool(nlp, records_of(*texts))
    assert scores is None
    expected = encode_all(nlp, texts)
    np.testing.assert_allclose(features.take(np.arange(9)), expected, atol=1e-3)
    assert len(nlp.vocab) < 1000
