from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import catalogue
import numpy as np
import pytest
from spacy import registry
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Linear, Model, set_dropout_rate

import trfcli_pipeline  # noqa: F401  (registers the attributes)
from trfcli_pipeline.architectures import CLASSIFIERS, make_classifier
from trfcli_pipeline.errors import PipelineError

WIDTH = 4
CLASS_ID = 101
FEATURES = {
    "trfcli.SoftmaxLastHidden.v1": "trf_mean_last_hidden",
    "trfcli.SoftmaxClassVector.v1": "trf_mean_class_vector",
    "trfcli.SoftmaxPoolerOutput.v1": "trf_mean_pooler_output",
}
OURS = [
    each for each in entry_points(group="spacy_architectures") if each.name.startswith("trfcli.")
]


def make_docs() -> list[Doc]:
    """Two Docs of one sentence, the first of three wordpieces and the second of two."""
    rng = np.random.default_rng(0)
    docs = []
    for n_pieces in (3, 2):
        doc = Doc(Vocab(), words=["word"])
        doc._.trf_word_pieces = [CLASS_ID, *range(1, n_pieces)]
        doc._.trf_last_hidden_state = rng.normal(size=(n_pieces, WIDTH)).astype("f")
        doc._.trf_pooler_output = rng.normal(size=(1, WIDTH)).astype("f")
        docs.append(doc)
    return docs


def make(name: str, **options: Any) -> Model:
    model = make_classifier(name, **{"exclusive_classes": True, "nO": 3, "nI": WIDTH, **options})
    features = model.get_ref("features")
    if "class_token_id" in features.attrs:
        features.attrs["class_token_id"] = CLASS_ID
    return model.initialize()


def set_weights(model: Model) -> None:
    shape = model.get_ref("output_layer").get_param("W").shape
    weights = np.random.default_rng(1).normal(size=shape).astype("f")
    model.get_ref("output_layer").set_param("W", weights)


def test_every_short_name_has_an_entry_point() -> None:
    assert sorted(each.name for each in OURS) == sorted(CLASSIFIERS.values())


@pytest.mark.parametrize("entry_point", OURS, ids=[each.name for each in OURS])
def test_every_entry_point_makes_what_the_registry_makes(entry_point: Any) -> None:
    make_model: Callable[..., Model] = entry_point.load()
    assert registry.architectures.get(entry_point.name) is make_model
    model = make_model(exclusive_classes=True, nO=3, nI=WIDTH)
    assert model.get_ref("output_layer").get_dim("nO") == 3
    assert model.get_ref("output_layer").get_dim("nI") == WIDTH
    assert model.get_ref("features").name == FEATURES[entry_point.name]


@pytest.mark.parametrize("entry_point", OURS, ids=[each.name for each in OURS])
def test_every_entry_point_works_in_a_config(entry_point: Any) -> None:
    config = {"model": {"@architectures": entry_point.name, "exclusive_classes": False}}
    model = registry.resolve(config)["model"]
    assert isinstance(model, Model)
    assert model.get_ref("output_layer").has_dim("nO") is None


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_an_untrained_classifier_prefers_no_class(name: str) -> None:
    assert make(name).predict(make_docs()) == pytest.approx(np.full((2, 3), 1 / 3))
    scores = make(name, exclusive_classes=False).predict(make_docs())
    assert scores == pytest.approx(np.full((2, 3), 0.5))


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scores_are_probabilities_of_the_features(name: str, exclusive: bool) -> None:
    model = make(name, exclusive_classes=exclusive)
    set_weights(model)
    docs = make_docs()
    features = {
        "softmax_last_hidden": [doc._.trf_last_hidden_state.mean(axis=0) for doc in docs],
        "softmax_class_vector": [doc._.trf_last_hidden_state[0] for doc in docs],
        "softmax_pooler_output": [doc._.trf_pooler_output[0] for doc in docs],
    }[name]
    logits = np.stack(features) @ model.get_ref("output_layer").get_param("W").T
    expected = 1 / (1 + np.exp(-logits))
    if exclusive:
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(docs), expected, rtol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_dropout_holds_in_training_only(name: str) -> None:
    model = make(name)
    set_weights(model)
    docs = make_docs()
    predicted = model.predict(docs)
    np.testing.assert_array_equal(model.begin_update(docs)[0], predicted)
    set_dropout_rate(model, 0.9)
    assert not np.array_equal(model.begin_update(docs)[0], predicted)
    np.testing.assert_array_equal(model.predict(docs), predicted)


@pytest.mark.parametrize(("short", "registered"), CLASSIFIERS.items())
def test_short_and_registered_names_mean_the_same(short: str, registered: str) -> None:
    assert make(short).name == make(registered).name
    assert make(short).get_ref("features").name == make(registered).get_ref("features").name


def test_an_architecture_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_theirs(exclusive_classes: bool, nO: int | None, nI: int | None) -> Model:
        return Linear(nO, nI)

    key = (*registry.architectures.namespace, "test.Theirs.v1")
    monkeypatch.setitem(catalogue.REGISTRY, key, make_theirs)
    model = make_classifier("test.Theirs.v1", True, nO=5, nI=7)
    assert (model.get_dim("nO"), model.get_dim("nI")) == (5, 7)


@pytest.mark.parametrize("name", ["softmax", "", "trfcli.SoftmaxLastHidden.v0"])
def test_an_unknown_name_is_an_error_that_names_the_known(name: str) -> None:
    with pytest.raises(PipelineError, match="no such architecture") as caught:
        make_classifier(name, True)
    assert caught.value.message.startswith(f"{name}: ")
    assert all(known in caught.value.hint for known in CLASSIFIERS)
