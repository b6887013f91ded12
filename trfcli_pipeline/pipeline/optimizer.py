"""The optimizer and what goes with it, registered for use in configs."""

from spacy.util import registry
from thinc.api import Optimizer
from thinc.types import Generator

from trfcli_pipeline.encoder.adamw import DEFAULT_TRF_LR, DEFAULT_TRF_WEIGHT_DECAY

# A number, or one for each step.
Schedule = float | Generator


class TransformersOptimizer(Optimizer):
    """Thinc's Adam for the heads; it carries the rates of the encoder's AdamW beside its own.

    Args:
        learn_rate: Of the heads.
        trf_lr: Of the encoder.
        trf_weight_decay: Of the encoder's matrices; biases and LayerNorms have none.
        trf_layer_decay: What the rate of each of the encoder's layers is multiplied by to get
            that of the layer below it; the uppermost has `trf_lr`.
        grad_clip: The largest norm of a gradient: of each parameter of a head, and of all the
            encoder's together. 0 for no limit.
        use_averages: Whether to keep averages of all weights over the steps, for evaluation and
            saving.
    """

    trf_lr: float
    trf_weight_decay: float

    def __init__(
        self,
        learn_rate: Schedule,
        *,
        trf_lr: Schedule = DEFAULT_TRF_LR,
        trf_weight_decay: Schedule = DEFAULT_TRF_WEIGHT_DECAY,
        trf_layer_decay: float = 1.0,
        grad_clip: float = 1.0,
        use_averages: bool = False,
    ) -> None:
        super().__init__(learn_rate, grad_clip=grad_clip, use_averages=use_averages)
        self.trf_layer_decay = trf_layer_decay
        self._set_attr_or_schedule("trf_lr", trf_lr)
        self._set_attr_or_schedule("trf_weight_decay", trf_weight_decay)


@registry.optimizers("trfcli.AdamW.v1")
def make_optimizer(
    learn_rate: Schedule = 1e-3,
    trf_lr: Schedule = DEFAULT_TRF_LR,
    trf_weight_decay: Schedule = DEFAULT_TRF_WEIGHT_DECAY,
    trf_layer_decay: float = 1.0,
    grad_clip: float = 1.0,
    use_averages: bool = False,
) -> TransformersOptimizer:
    return TransformersOptimizer(
        learn_rate,
        trf_lr=trf_lr,
        trf_weight_decay=trf_weight_decay,
        trf_layer_decay=trf_layer_decay,
        grad_clip=grad_clip,
        use_averages=use_averages,
    )


def default_optimizer() -> TransformersOptimizer:
    """The optimizer of pipelines whose config asks for no other."""
    return make_optimizer()
