"""Updates of a whole pipeline."""

from pathlib import Path
from typing import Any

import pytest
from languages import DATA, examples, make_like_spacy_3, predictions
from spacy.language import Language
from spacy.training import Example
from thinc.api import Adam

from trfcli_pipeline import TransformersLanguage
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer


@pytest.mark.parametrize("kind", ["texts", "docs", "generators"])
def test_update_takes_texts_with_annotations(tiny_bert: Path, kind: str) -> None:
    old, new = (make_like_spacy_3(str(tiny_bert)) for _ in range(2))
    texts: Any = [text for text, _ in DATA]
    annotations: Any = [{"cats": cats} for _, cats in DATA]
    if kind == "docs":
        texts = [old.make_doc(text) for text in texts]
    elif kind == "generators":
        texts, annotations = iter(texts), iter(annotations)
    losses: dict[str, float] = {}
    assert old.update(texts, annotations, sgd=TransformersOptimizer(), losses=losses) == losses
    assert losses == new.update(examples(new), sgd=TransformersOptimizer())
    assert losses["trf_textcat"] > 0
    assert predictions(old) == predictions(new)


def test_update_needs_an_annotation_for_each_text(trained: Language) -> None:
    with pytest.raises(ValueError, match="shorter"):
        trained.update([text for text, _ in DATA], [{"cats": DATA[0][1]}])


def test_update_leaves_the_examples_as_they_are(tiny_bert: Path) -> None:
    nlp = make_like_spacy_3(str(tiny_bert))
    batch = examples(nlp)
    nlp.update(batch, sgd=TransformersOptimizer())
    for eg in batch:
        assert eg.predicted._.trf_word_pieces is None
        assert eg.predicted.cats == {}
        assert not eg.predicted.has_annotation("SENT_START")


def test_update_with_no_examples_does_nothing(trained: Language) -> None:
    before = predictions(trained)
    assert trained.update([], sgd=TransformersOptimizer()) == {}
    assert predictions(trained) == before


def test_an_excluded_head_takes_no_step(tiny_bert: Path) -> None:
    nlp = make_like_spacy_3(str(tiny_bert))
    output = nlp.get_pipe("trf_textcat").model.get_ref("output_layer")
    nlp.update(examples(nlp), sgd=False)
    # An earlier update has left a gradient, which must not be used now.
    assert output.get_grad("W").any()
    nlp.update(examples(nlp), sgd=TransformersOptimizer(), exclude=["trf_textcat"])
    assert not output.get_param("W").any()
    nlp.update(examples(nlp), sgd=TransformersOptimizer())
    assert output.get_param("W").any()


def test_update_without_an_optimizer_uses_the_pipelines_own(tiny_bert: Path) -> None:
    nlp = make_like_spacy_3(str(tiny_bert))
    before = predictions(nlp)
    nlp.update(examples(nlp))
    assert isinstance(nlp._optimizer, TransformersOptimizer)
    first = nlp._optimizer
    nlp.update(examples(nlp))
    assert nlp._optimizer is first
    assert predictions(nlp) != before


def test_the_optimizer_is_that_of_the_config() -> None:
    nlp = TransformersLanguage()
    assert isinstance(nlp.create_optimizer(), TransformersOptimizer)
    config = nlp.config
    config["training"]["optimizer"] = {"@optimizers": "trfcli.AdamW.v1", "trf_lr": 0.25}
    assert TransformersLanguage.from_config(config).create_optimizer().trf_lr == 0.25
    config["training"]["optimizer"] = {"@optimizers": "Adam.v1", "learn_rate": 0.25}
    optimizer = TransformersLanguage.from_config(config).create_optimizer()
    assert type(optimizer) is type(Adam())
    assert optimizer.learn_rate == 0.25


def test_the_optimizer_may_have_variables_of_the_config() -> None:
    config = TransformersLanguage().config
    config["training"]["optimizer"] = {
        "@optimizers": "trfcli.AdamW.v1",
        "trf_lr": "${training.dropout}",
    }
    optimizer = TransformersLanguage.from_config(config).create_optimizer()
    assert optimizer.trf_lr == config["training"]["dropout"]


def test_resume_training_keeps_the_weights(trained: Language) -> None:
    before = predictions(trained)
    assert isinstance(trained.resume_training(), TransformersOptimizer)
    assert predictions(trained) == before


def test_other_components_train_on_the_encoder(tiny_bert: Path) -> None:
    """A tagger with its own tok2vec is updated, too."""
    nlp = make_like_spacy_3(str(tiny_bert))
    tagger = nlp.add_pipe("tagger")
    batch = [Example.from_dict(nlp.make_doc("I love"), {"tags": ["A", "B"], "cats": DATA[0][1]})]
    tagger.initialize(lambda: batch, nlp=nlp)
    losses = [nlp.update(batch, sgd=TransformersOptimizer())["tagger"] for _ in range(2)]
    assert losses[1] < losses[0]
