from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from trfcli_pipeline.curation.features import encode_all, encode_texts, load_encoder, normalized
from trfcli_pipeline.errors import EncoderError, PipelineError
from trfcli_pipeline.progress import current_phase
from trfcli_pipeline.tasks.init_model import init_model

TEXTS = ["I love this film, it is great fun.", "Unbelievable!", ""]


def test_features_are_mean_vectors_of_unit_length(tiny_bert: Path) -> None:
    features = encode_all(load_encoder(str(tiny_bert)), TEXTS)
    tokenizer, model = (
        AutoTokenizer.from_pretrained(tiny_bert),
        AutoModel.from_pretrained(tiny_bert),
    )
    for row, text in zip(features[:2], TEXTS, strict=False):
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-5)
    assert features.dtype == np.float32
    assert not features[2].any()


def test_pipelines_and_encoders_give_the_same_features(tiny_bert: Path, tmp_path: Path) -> None:
    init_model(str(tiny_bert), tmp_path / "model", lang="xx")
    one, other = (
        encode_all(load_encoder(name), TEXTS) for name in (str(tiny_bert), str(tmp_path / "model"))
    )
    assert (one == other).all()


def test_heads_do_not_run(tiny_bert: Path) -> None:
    nlp = load_encoder(str(tiny_bert))
    # It has no labels, so it would fail.
    nlp.add_pipe("trf_textcat")
    assert len(encode_all(nlp, TEXTS)) == 3


def test_texts_are_encoded_as_a_stream(tiny_bert: Path) -> None:
    read = []

    def texts() -> object:
        for number in range(600):
            read.append(number)
            yield "A text."

    chunks = encode_texts(load_encoder(str(tiny_bert)), texts(), total=600)  # type: ignore[arg-type]
    assert next(chunks).shape == (256, 16)
    assert len(read) < 300
    phase = current_phase()
    assert phase is not None
    assert (phase.title, phase.total) == ("Encoding the texts", 600)
    assert sum(map(len, chunks)) == 344
    assert current_phase() is None


def test_normalized_rows_have_a_length_of_one() -> None:
    rows = normalized(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]])


def test_unknown_encoder_is_an_error() -> None:
    with pytest.raises((EncoderError, PipelineError), match="nosuch"):
        load_encoder("./nosuch")
