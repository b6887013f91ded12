"""The registered optimizer for heads and encoder."""

from spacy.util import registry
from thinc.api import Optimizer
from thinc.types import Generator

from trfcli_pipeline.encoder.adamw import DEFAULT_TRF_LR, DEFAULT_TRF_WEIGHT_DECAY

# A constant, or one number per step.
Schedule = float | Generator


@registry.optimizers("trfcli.AdamW.v1")
class TransformersOptimizer(Optimizer):
    """Thinc's Adam for the heads, which also carries the settings of the encoder's AdamW.

    Args:
        learn_rate: Learning rate of the heads.
        trf_lr: Learning rate of the encoder.
        trf_weight_decay: Weight decay of the encoder's matrices; biases and LayerNorms have none.
        trf_layer_decay: Learning-rate factor from each of the encoder's layers to the one below;
            the top layer has `trf_lr`.
        grad_clip: Maximum norm of the gradient of each parameter of a head, and of the encoder's
            gradient as a whole; 0 for no limit.
        use_averages: Whether to average all weights over the steps, for evaluation and saving.
    """

    trf_lr: float
    trf_weight_decay: float

    def __init__(
        self,
        learn_rate: Schedule = 1e-3,
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
