"""How a model came about: what a training depends on, and what the model says about it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language

from trfcli_pipeline.data.files import directory_digest, sha256
from trfcli_pipeline.data.formats import STDIN
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.encoder.devices import installed_version
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.training.checkpoints import Workspace
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.data import Data
from trfcli_pipeline.training.events import Evaluated, Finished, Planned
from trfcli_pipeline.training.trainer import TrainerState

_VERSIONS = ("trfcli", "torch", "transformers", "spacy")
# TrainingArguments that the config doesn't hold.
_METHODS = ("freeze_encoder", "freeze_layers", "lora", "precision")


def identify(recipe: TrainingConfig, path: Path, data: Data) -> dict[str, str]:
    """Hashes of all that a training's result depends on, each under a name for people."""
    asked = {
        "config": recipe.config.to_str(),
        **{name: getattr(recipe.settings, name) for name in _METHODS},
        "processes": recipe.n_processes,
    }
    return {
        "the settings": digest(asked),
        "the training texts": _digest_records(data.train),
        "the dev texts": _digest_records(data.dev),
        "the pipeline": directory_digest(path),
        "the installed packages": digest({name: installed_version(name) for name in _VERSIONS}),
    }


def digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def digest_files(*paths: str | None) -> dict[str, str]:
    """SHA-256 of the data files, by their names; by their paths if they have one name."""
    files = [path for path in dict.fromkeys(paths) if path not in (None, STDIN)]
    names = [Path(path).name for path in files]
    if len(set(names)) < len(names):
        names = files
    return {name: sha256(path) for name, path in zip(names, files, strict=True)}


def _digest_records(records: Sequence[Record]) -> str:
    found = hashlib.sha256()
    for record in records:
        found.update(json.dumps([record.text, record.cats, record.partial]).encode())
    return found.hexdigest()


def check_identity(workspace: Workspace, identity: Mapping[str, str]) -> None:
    """Make sure that a checkpoint belongs to the training that is to be resumed."""
    saved = workspace.progress()["identity"]
    changed = [name for name, value in identity.items() if saved.get(name) != value]
    if changed:
        raise PipelineError(
            f"The unfinished training can't be resumed: {' and '.join(changed)} differ from then",
            hint="Give the same options and files, or start anew without --resume",
        )


def finished_before(target: Path, shown: Path, request: str) -> Finished | None:
    """The end of the training that is asked for, if the target holds its result."""
    if not (target / "meta.json").exists():
        return None
    facts = srsly.read_json(target / "meta.json").get("trf", {}).get("training", {})
    if facts.get("request") != request:
        return None
    return Finished(
        best_step=facts["best_step"],
        metric=facts["metric"],
        score=facts["score"],
        path=shown,
        was=None,
        stopped_early=facts["stopped_early"],
        seconds=facts["seconds"],
        choice=facts["choice"],
        was_finished=True,
    )


def describe_training(
    nlp: Language,
    classifier: TransformersTextCategorizer,
    recipe: TrainingConfig,
    plan: Planned,
    event: Evaluated,
    files: Mapping[str, str],
) -> None:
    """Write into the pipeline's meta and config how it came about.

    Args:
        files: As of `digest_files`.
    """
    evaluation = event.evaluation
    nlp.meta["performance"] = {**evaluation.cats, "accuracy": evaluation.accuracy}
    encoder = nlp.meta.get("trf", {}).get("encoder", {})
    nlp.meta["trf"] = {
        "encoder": encoder,
        "training": {
            "texts": plan.train_texts,
            "dev_texts": plan.dev_texts,
            "labels": dict(plan.label_counts),
            "exclusive_classes": plan.exclusive,
            "architecture": classifier.cfg["architecture"],
            "epochs": recipe.epochs,
            "batch_size": plan.batch_size,
            "trf_lr": plan.trf_lr,
            "learn_rate": plan.learn_rate,
            **{name: getattr(recipe.settings, name) for name in _METHODS},
            # What "auto" came to.
            "precision": plan.precision,
            "layer_decay": recipe.layer_decay,
            "averages": recipe.averages,
            "seed": recipe.seed,
            "device": plan.device,
            "versions": {name: installed_version(name) for name in _VERSIONS},
            "data": dict(files),
            "metric": " + ".join(name for name, w in recipe.T["score_weights"].items() if w),
            "best_step": event.step,
            "score": event.score,
        },
    }
    sections = {name: recipe.config[name] for name in ("training", "schedule")}
    # spaCy adds the components' own scores to those that a config chooses, unless it names them.
    unused: dict[str, Any] = {
        score: None
        for name in nlp.pipe_names
        for score in nlp.get_pipe_meta(name).default_score_weights or ()
    }
    weights = unused | dict(sections["training"]["score_weights"])
    sections["training"] = {**sections["training"], "score_weights": weights}
    nlp.config = nlp.config.merge(sections)


def complete_meta(path: Path, progress: TrainerState, request: str) -> None:
    """Add to a trained pipeline what is only known once training has ended."""
    meta = srsly.read_json(path / "meta.json")
    meta["trf"]["training"].update(
        steps=progress.step,
        stopped_early=progress.stopped_early,
        choice=progress.choice,
        seconds=progress.seconds,
        request=request,
    )
    srsly.write_json(path / "meta.json", meta)
    srsly.write_jsonl(path / "training.jsonl", progress.history)
