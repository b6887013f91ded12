import numpy as np
import pytest
import srsly

from trfcli_pipeline.heads.novelty import Novelty

WIDTH = 16


def texts(center: int, number: int, seed: int) -> np.ndarray:
    """Features near one axis."""
    rng = np.random.default_rng(seed)
    return (3 * np.eye(WIDTH)[[center]] + rng.normal(0, 0.5, (number, WIDTH))).astype(np.float32)


def sure(number: int) -> np.ndarray:
    return np.tile([0.9, 0.1], (number, 1))


def fit() -> Novelty:
    known = np.concatenate([texts(0, 200, 0), texts(1, 200, 1)])
    dev = np.concatenate([texts(0, 200, 2), texts(1, 200, 3)])
    return Novelty.fit(known, dev, sure(400), exclusive=True)


def test_new_texts_are_more_novel() -> None:
    novelty = fit()
    usual, new = (
        novelty.score(texts(0, 300, 4), sure(300)),
        novelty.score(texts(2, 50, 5), sure(50)),
    )
    assert (usual < 1.0).mean() == pytest.approx(0.95, abs=0.04)
    assert (new > 1.0).all()


def test_doubt_makes_texts_more_novel() -> None:
    novelty, features = fit(), texts(0, 1, 4)
    (confident,) = novelty.score(features, np.array([[1.0, 0.0]]))
    (doubtful,) = novelty.score(features, np.array([[0.5, 0.5]]))
    assert doubtful == pytest.approx(2 * confident)


def test_several_labels_per_text() -> None:
    novelty = fit()
    several = Novelty(novelty.features, novelty.scale, exclusive=False)
    features = texts(0, 1, 4)
    (confident,) = several.score(features, np.array([[1.0, 1.0]]))
    (doubtful,) = several.score(features, np.array([[1.0, 0.5]]))
    assert doubtful == pytest.approx(2 * confident)


def test_length_of_features_does_not_matter() -> None:
    novelty, features = fit(), texts(0, 5, 4)
    expected = novelty.score(features, sure(5))
    assert novelty.score(7 * features, sure(5)) == pytest.approx(expected, abs=1e-4)


def test_a_text_is_scored_the_same_in_any_batch() -> None:
    novelty, features = fit(), texts(0, 300, 4)
    alone = [novelty.score(features[[place]], sure(1))[0] for place in (0, 255, 256, 299)]
    together = novelty.score(features, sure(300))[[0, 255, 256, 299]]
    assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("number", [1, 2])
def test_few_labeled_texts_and_empty_ones(number: int) -> None:
    known = texts(0, number, 0)
    # The features of an empty text are zeros.
    novelty = Novelty.fit(known, known, sure(number), exclusive=True)
    found = novelty.score(np.zeros((1, WIDTH), np.float32), sure(1))
    assert np.isfinite(found).all()
    assert novelty.score(np.zeros((0, WIDTH), np.float32), sure(0)).shape == (0,)


def test_survives_msgpack() -> None:
    novelty, features = fit(), texts(2, 5, 4)
    again = Novelty.from_dict(srsly.msgpack_loads(srsly.msgpack_dumps(novelty.as_dict())))
    assert again.score(features, sure(5)).tolist() == novelty.score(features, sure(5)).tolist()
