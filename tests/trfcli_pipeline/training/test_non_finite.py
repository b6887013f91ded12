"""Training runs whose numbers become NaN."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy
from directories import snapshot
from trainings import QUICK, hidden

from trfcli_pipeline.errors import NonFiniteError
from trfcli_pipeline.training.events import Checkpointed
from trfcli_pipeline.training.train import train_textcat
from trfcli_pipeline.training.trainer import Trainer


@pytest.fixture
def fails_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the loss NaN after a number of steps."""
    update = Trainer._update

    def fail_after(steps: int) -> None:
        def broken(self: Trainer, step: Any) -> float:
            loss = update(self, step)
            return math.nan if self.state.step == steps else loss

        monkeypatch.setattr(Trainer, "_update", broken)

    return fail_after


@pytest.mark.parametrize("checkpoint_every", [0, None])
def test_the_best_model_is_kept_and_can_be_trained_further(
    model: Path, data: str, fails_after: Any, checkpoint_every: int | None
) -> None:
    before = snapshot(model)
    fails_after(6)
    arguments = replace(QUICK, checkpoint_every=checkpoint_every)
    with pytest.raises(NonFiniteError) as caught:
        list(train_textcat(str(model), data, dev=data, arguments=arguments))
    assert caught.value.message == "After step 6, trf_textcat: the loss is nan"
    best = hidden(model) / "best"
    assert caught.value.hint == (
        f"Lower the learning rate (--learn-rate, now 5e-3). The model of step 5 is kept in {best} "
        "until the next training: copy it to train it further"
    )
    assert snapshot(model) == before
    assert spacy.load(best)("apple pie").cats


def test_without_a_model_to_keep_nothing_is_left(model: Path, data: str, fails_after: Any) -> None:
    fails_after(1)
    with pytest.raises(NonFiniteError, match="After step 1, ") as caught:
        list(train_textcat(str(model), data, arguments=replace(QUICK, freeze_encoder=True)))
    assert caught.value.hint == (
        "Lower the learning rate (--training.optimizer.learn_rate.initial_rate, now 1e-3)"
    )
    assert list(model.parent.iterdir()) == [model]


def test_a_far_too_high_learning_rate_is_an_error(model: Path, data: str) -> None:
    with pytest.raises(NonFiniteError, match=r"After step \d+, trf_t"):
        list(train_textcat(str(model), data, dev=data, arguments=replace(QUICK, learn_rate=1e38)))


def test_broken_weights_are_not_saved_as_a_checkpoint(
    model: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_state = Trainer.plain_state

    def broken(self: Trainer) -> dict[str, Any]:
        if self.state.step == 4:
            output = self.classifier.model.get_ref("output_layer")
            output.set_param("b", output.get_param("b") * math.nan)
        return plain_state(self)

    monkeypatch.setattr(Trainer, "plain_state", broken)
    arguments = replace(QUICK, checkpoint_every=2, eval_every=5)
    events: list[Any] = []
    with pytest.raises(NonFiniteError, match=r"After step 4, head.*is NaN or infinite"):
        events.extend(train_textcat(str(model), data, arguments=arguments))
    assert [event.step for event in events if isinstance(event, Checkpointed)] == [2]
