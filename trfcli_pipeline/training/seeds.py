"""The models of a training with several seeds, of which the median is kept."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trfcli_pipeline.data.files import link_or_copy, read_object
from trfcli_pipeline.data.outputs.staging import staged_directory, staged_file
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.training.arguments import CONFIG_KEYS
from trfcli_pipeline.training.checkpoints import SEED_RESULTS
from trfcli_pipeline.training.config import TrainingConfig

_START_OVER = "Start again without --resume"


def config_with_seed(config: TrainingConfig, seed: int, n_texts: int) -> TrainingConfig:
    """Return a config that differs from another one only in the seed of the training."""
    # The seed may also have been given as an override.
    overrides = {
        key: value
        for key, value in config.arguments.overrides.items()
        if key != CONFIG_KEYS["seed"]
    }
    arguments = replace(
        config.arguments, seed=seed, data_seed=config.data_seed, overrides=overrides
    )
    other = TrainingConfig(arguments, exclusive=config.exclusive, n_processes=config.n_processes)
    other.fit(n_texts)
    return other


def saved_identity(root: Path) -> dict[str, Any]:
    """The identity of the training whose models are in a directory; see `SeedResults`.

    Raises:
        PipelineError: The results are damaged.
    """
    found = _read(root).get("identity")
    return found if isinstance(found, dict) else {}


def _read(root: Path) -> dict[str, Any]:
    return read_object(root / SEED_RESULTS, PipelineError, hint=_START_OVER)


@dataclass(slots=True)
class SeedResults:
    """The models that are finished, in a directory with one for each seed.

    Attributes:
        root: The directory.
        number: How many models there will be.
        identity: What the training depends on; see `provenance.identify`.
        scores: The score of each finished model by its seed.
    """

    root: Path
    number: int
    identity: Mapping[str, Any]
    scores: dict[int, float] = field(default_factory=dict)

    def load(self) -> None:
        """Read the scores of an interrupted training, if there are any.

        Raises:
            PipelineError: They are damaged.
        """
        if not (self.root / SEED_RESULTS).exists():
            return
        found = _read(self.root).get("scores")
        try:
            self.scores = {int(seed): float(score) for seed, score in (found or {}).items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise PipelineError(f"{self.root / SEED_RESULTS}: damaged", hint=_START_OVER) from error

    def add(self, seed: int, score: float, model: Path, *, write: bool = True) -> None:
        """Keep a model as long as it may become the median. The original stays where it is.

        Args:
            write: Whether this process is the one that writes files.
        """
        self.scores[seed] = score
        if not write:
            return
        with staged_directory(self.path(seed)) as staging:
            shutil.copytree(model, staging, copy_function=link_or_copy, dirs_exist_ok=True)
        results = {"identity": self.identity, "scores": self.scores}
        with staged_file(self.root / SEED_RESULTS) as staging:
            # Not by srsly, which rounds numbers.
            staging.write_text(json.dumps(results), encoding="utf8")
        for each in self.scores.keys() - self.candidates():
            shutil.rmtree(self.path(each), ignore_errors=True)

    def path(self, seed: int) -> Path:
        """Directory of a model."""
        return self.root / str(seed)

    def candidates(self) -> set[int]:
        """The seeds whose models may be the median once all are finished."""
        missing = self.number - len(self.scores)
        return {
            seed
            for rank, seed in enumerate(self._ranked())
            if rank <= self._middle <= rank + missing
        }

    def median(self) -> int:
        """The seed of the model with the median score; with an even number, the lower one."""
        return self._ranked()[self._middle]

    @property
    def _middle(self) -> int:
        return (self.number - 1) // 2

    def _ranked(self) -> list[int]:
        return sorted(self.scores, key=lambda seed: (self.scores[seed], seed))
