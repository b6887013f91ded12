from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from trfcli_pipeline.curation.features import encode_all, load_encoder, normalized
from trfcli_pipeline.curation.layer_features import encode_layers, principal_components
from trfcli_pipeline.encoder.shim import TransformersShim
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.loading import require_encoder

TEXTS = ["I love this film, it is great fun.", "Unbelievable!", "One of a kind.", "I hate it."]


def test_vectors_are_those_of_groups_of_layers(tiny_bert: Path) -> None:
    tokenizer, model = (
        AutoTokenizer.from_pretrained(tiny_bert),
        AutoModel.from_pretrained(tiny_bert),
    )
    # With two layers and the embeddings, each is a group.
    assert model.config.num_hidden_layers == 2
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            output = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        means = [layer[0].mean(dim=0) for layer in output.hidden_states]
        rows.append(torch.cat([mean / mean.norm() for mean in means]).numpy())
    last, found = encode_layers(load_encoder(str(tiny_bert)), TEXTS)
    assert (last == encode_all(load_encoder(str(tiny_bert)), TEXTS)).all()
    both = np.concatenate([rows, 2 * last], axis=1)
    for joined, components in zip([np.array(rows), both], found, strict=True):
        # Four texts have no more than four components, so nothing is lost but the directions.
        assert components.shape == (4, 4)
        expected = normalized(joined - joined.mean(axis=0))
        np.testing.assert_allclose(components @ components.T, expected @ expected.T, atol=1e-5)


def test_an_encoder_without_layers_gives_the_features_of_its_last_one(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TransformersShim, "_has_layers", lambda _: False)
    last, candidates = encode_layers(load_encoder(str(tiny_bert)), TEXTS)
    assert len(candidates) == 1
    assert candidates[0] is last


def test_layers_are_returned_for_one_call_only(tiny_bert: Path) -> None:
    nlp = load_encoder(str(tiny_bert))
    encoder = require_encoder(nlp)
    encode_layers(nlp, TEXTS)
    assert encoder.kept == {"segment_sums"}
    assert not encoder.model.shim.all_hidden_states
    nlp.add_pipe("sentencizer", name="broken", first=True)
    nlp.remove_pipe("trf_wordpiecer")
    with pytest.raises(PipelineError, match="no wordpieces"):
        encode_layers(nlp, TEXTS)
    assert encoder.kept == {"segment_sums"}
    assert not encoder.model.shim.all_hidden_states


def test_components_are_as_many_as_asked_for() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32)
    found = principal_components(rows, 5)
    assert (found.shape, found.dtype) == ((30, 5), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    centered = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centered, full_matrices=False)
    expected = normalized((left * sizes)[:, :5])
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)
