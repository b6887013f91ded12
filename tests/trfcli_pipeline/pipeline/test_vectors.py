import math

import numpy as np
import pytest
from spacy.language import Language

from trfcli_pipeline.errors import PipelineError


def test_vectors_are_sums_of_token_rows(nlp: Language) -> None:
    doc = nlp("I love it. I hate this film.")
    np.testing.assert_array_equal(doc.vector, doc.tensor.sum(axis=0))
    np.testing.assert_array_equal(doc[2:5].vector, doc.tensor[2:5].sum(axis=0))
    np.testing.assert_array_equal(doc[3].vector, doc.tensor[3])
    for part in (doc, doc[2:5], doc[3]):
        assert part.has_vector
        assert part.vector_norm == pytest.approx(np.linalg.norm(part.vector), rel=1e-5)


def test_similarity_is_the_cosine(nlp: Language) -> None:
    doc, other = nlp("I love it."), nlp("I hate this film.")
    for one, two in [(doc, other), (doc[1:3], other), (doc[1], other[1:3]), (doc[0], doc[1])]:
        cosine = np.dot(one.vector, two.vector) / (
            np.linalg.norm(one.vector) * np.linalg.norm(two.vector)
        )
        assert one.similarity(two) == pytest.approx(cosine, abs=1e-5)
        assert two.similarity(one) == pytest.approx(cosine, abs=1e-5)
    assert doc.similarity(doc) == pytest.approx(1.0, abs=1e-5)


def test_similarity_with_a_zero_vector_is_zero(nlp: Language) -> None:
    doc, empty, long = nlp("I love it."), nlp(""), nlp("apple " * 100)
    for zero in (empty, long[99], long[98:100]):
        assert not zero.has_vector
        assert doc.similarity(zero) == 0.0
        assert zero.similarity(doc) == 0.0
        assert zero.similarity(zero) == 0.0
        assert not math.isnan(doc[0].similarity(zero))


def test_vectors_of_different_widths_cannot_be_compared(nlp: Language) -> None:
    doc, other = nlp("I love it."), nlp("I love it.")
    other.tensor = np.ones((len(other), 3), dtype="f")
    for one, two in [(doc, other), (doc[0], other[1]), (doc[1:3], other)]:
        with pytest.raises(PipelineError, match="A vector of 16 numbers can't be compared"):
            one.similarity(two)
