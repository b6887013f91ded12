"""The Thinc model that encodes wordpieces."""

import copy
from pathlib import Path
from typing import Any, Self, cast

from thinc.api import Model, Ops

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.devices import resolve_device, share_devices
from trfcli_pipeline.encoder.grouping import check_words_per_batch
from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.encoder.prediction import predict
from trfcli_pipeline.encoder.shim import TransformersShim
from trfcli_pipeline.encoder.transfers import download
from trfcli_pipeline.encoder.updates import Backprop, begin_update


class TransformersWrapper(Model[WordPieces, Activations]):
    """Encodes wordpieces, in sub-batches of segments of similar length.

    `predict` and `begin_update` take `WordPieces` and return `Activations`. The callback from
    `begin_update` takes the gradients of the activations and accumulates those of the weights
    until `finish_update` takes one AdamW step. The torch module and its state are in `shim`.

    The dropout rate (see `thinc.api.set_dropout_rate`) replaces the rates of the encoder's own
    dropout layers. Initially it is 0.0, and updates run the encoder as predictions do.

    Args:
        words_per_batch: Maximum size of a sub-batch in wordpieces, padding included; 0 for a
            single sub-batch; "auto" for the largest size that fits in memory and is useful; None
            for 2,000 on a CPU and "auto" on other devices. A sub-batch that doesn't fit is halved,
            and so are later ones of its size.
        shim: Holds the encoder; created from the settings if None.
        settings: See `TransformersShim`.

    Raises:
        PipelineError: A setting is invalid.
        DeviceError: `device` isn't the name of a device.
    """

    def __init__(
        self,
        *,
        words_per_batch: int | str | None = None,
        shim: TransformersShim | None = None,
        **settings: Any,
    ) -> None:
        check_words_per_batch(words_per_batch)
        super().__init__(
            "transformers",
            _forward,
            dims={"nO": None},
            attrs={"words_per_batch": words_per_batch, "dropout_rate": 0.0},
            shims=[TransformersShim(**settings) if shim is None else shim],
        )
        self._set_width()

    @property
    def shim(self) -> TransformersShim:
        return cast(TransformersShim, self.shims[0])

    def encode(self, X: WordPieces) -> Activations:
        """Predict tensors, which stay on the encoder's device; `predict` returns arrays."""
        return predict(self.shim, X, words_per_batch=self.attrs["words_per_batch"])

    def begin_encoding(self, X: WordPieces) -> tuple[Activations, Backprop]:
        """Begin an update with tensors, as `encode` does; the callback takes arrays."""
        return begin_update(
            self.shim,
            X,
            words_per_batch=self.attrs["words_per_batch"],
            dropout=self.attrs["dropout_rate"],
        )

    # Thinc would write a file in its own format. The shim writes a directory in Hugging Face's.

    def to_disk(self, path: Path | str) -> None:
        self.shim.to_disk(path)

    def from_disk(self, path: Path | str) -> Self:
        self.shim.from_disk(path)
        self._set_width()
        return self

    def to_bytes(self) -> bytes:
        return self.shim.to_bytes()

    def from_bytes(self, bytes_data: bytes) -> Self:
        self.shim.from_bytes(bytes_data)
        self._set_width()
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle the files: a module that has returned hidden states has hooks of transformers
        # that can't be pickled.
        data = self.to_bytes() if self.shim.is_loaded else None
        return _unpickle, (self.shim.settings, dict(self.attrs), data, self.ops)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def _copy(self, seen: Any = None) -> Self:
        # Thinc's own method would create a plain Model.
        copied = type(self)(shim=self.shim.copy())
        copied.attrs.update(copy.deepcopy(self.attrs))
        return copied

    def _set_width(self) -> None:
        if self.shim.is_loaded:
            self.set_dim("nO", self.shim.capabilities.width, force=True)


def _unpickle(
    settings: dict[str, Any], attrs: dict[str, Any], data: bytes | None, ops: Ops | None = None
) -> TransformersWrapper:
    device = share_devices(resolve_device(settings["device"], replace_missing=True))
    model = TransformersWrapper(**{**settings, "device": str(device)})
    model.attrs.update(attrs)
    # A worker process doesn't know whether its parent called `spacy.prefer_gpu()`.
    model.ops = ops or model.ops
    return model if data is None else model.from_bytes(data)


def _forward(
    model: TransformersWrapper, X: WordPieces, is_train: bool
) -> tuple[Activations, Backprop]:
    Y, backprop = model.begin_encoding(X) if is_train else (model.encode(X), _no_backprop)
    return Y.with_arrays(download(Y.arrays(), model.ops)()), backprop


def _no_backprop(d_activations: Activations) -> None:
    raise RuntimeError("A prediction has no backward pass; use begin_update")
