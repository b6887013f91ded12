"""What a training run depends on, and how its pipeline records that."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language
from spacy.util import walk_dict

from trfcli_pipeline.data.dataset import STDIN, DataSet, DataSource, as_dataset
from trfcli_pipeline.data.files import files_digest, read_object, sha256
from trfcli_pipeline.data.outputs.manifest import META, read_section, update_meta
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.encoder.devices import installed_version
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation.abstention import FittedAbstention
from trfcli_pipeline.evaluation.report import HISTORY
from trfcli_pipeline.pipeline.saved import pipeline_digest
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.user_code import code_hashes
from trfcli_pipeline.training.arguments import CONFIG_KEYS
from trfcli_pipeline.training.checkpoints import Workspace
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.data import Data
from trfcli_pipeline.training.events import Evaluated, Finished, Planned
from trfcli_pipeline.training.seeds import saved_identity
from trfcli_pipeline.training.trainer_state import TrainerState

_VERSIONS = ("trfcli", "torch", "transformers", "spacy")


def identify(config: TrainingConfig, path: Path, data: Data) -> dict[str, Any]:
    """Everything that the result depends on, by names for error messages.

    Args:
        path: Directory of the untrained pipeline.

    Returns:
        The settings by their names, and hashes of all else.
    """
    return {
        "the settings": settings_of(config),
        "the training texts": _digest_records(data.train),
        "the dev texts": _digest_records(data.dev),
        "the unlabeled texts": _digest_records(data.unlabeled),
        "the pipeline": pipeline_digest(path),
        "the code": code_hashes(),
        "the installed packages": digest({name: installed_version(name) for name in _VERSIONS}),
    }


def settings_of(config: TrainingConfig) -> dict[str, Any]:
    """All settings and arguments by their names, as JSON reads them back."""
    arguments = config.arguments.as_json()
    settings = {
        # First, as it explains changes in other settings.
        "processes": config.n_processes,
        **{".".join(key): value for key, value in walk_dict(config.config)},
        **{f"--{key}": value for key, value in arguments.pop("overrides").items()},
        **arguments,
    }
    found: dict[str, Any] = json.loads(json.dumps(settings))
    return found


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def digest_files(*sources: DataSource | None) -> dict[str, str]:
    """SHA-256 of data files, by their names; by their paths if the names are the same."""
    return _digests(_names(sources))


def describe_files(sources: Mapping[str, DataSource | None]) -> dict[str, Any]:
    """Describe the data files of a training run, as a pipeline's meta records them.

    Args:
        sources: The data set for each role; None where there is none.

    Returns:
        "data", see `digest_files`; and "data_roles", the names of the files in each role. Stdin and
        data sets on the hub have roles, but no hashes.
    """
    given = {role: as_dataset(each) for role, each in sources.items() if each is not None}
    names = _names(given.values())
    roles = {
        role: [
            name
            for source in data.sources
            for name in [names[path] for path in DataSet.named(source).paths()]
            or ["stdin" if source == STDIN else source]
        ]
        for role, data in given.items()
    }
    return {"data": _digests(names), "data_roles": roles}


def _digests(names: Mapping[Path, str]) -> dict[str, str]:
    return {name: _digest_path(path) for path, name in names.items()}


def _names(sources: Iterable[DataSource | None]) -> dict[Path, str]:
    """The name of each file; its path if the names of several are the same."""
    given = [path for each in sources if each is not None for path in as_dataset(each).paths()]
    files = list(dict.fromkeys(given))
    are_unique = len({path.name for path in files}) == len(files)
    return {path: path.name if are_unique else str(path) for path in files}


def _digest_path(path: Path) -> str:
    if not path.is_dir():
        return sha256(path)
    return files_digest(path, [str(each.relative_to(path)) for each in path.rglob("*")])


def _digest_records(records: Sequence[Record]) -> str:
    found = hashlib.sha256()
    for record in records:
        found.update(json.dumps([record.text, record.cats, record.partial]).encode())
    return found.hexdigest()


def check_identity(workspace: Workspace, identity: Mapping[str, Any]) -> None:
    """Check that what was saved belongs to the training run that is to be resumed.

    Raises:
        PipelineError: Something that the result depends on has changed.
    """
    with workspace.explain():
        if workspace.checkpoint.exists():
            saved = dict(workspace.load_state()["identity"])
        else:
            saved = dict(saved_identity(workspace.seeds))
    changed = [name for name, value in identity.items() if saved.get(name) != value]
    if changed:
        details = _changes(saved.get("the settings"), identity["the settings"])
        raise PipelineError(
            f"The unfinished training can't be resumed: {' and '.join(changed)} have changed"
            f"{f' ({enumeration(details)})' if details else ''}",
            hint="Use the same options and files, or start again without --resume",
        )


def _changes(old: Any, new: Mapping[str, Any]) -> list[str]:
    """What changed in settings, as phrases; nothing if the old ones weren't saved."""
    if not isinstance(old, Mapping):
        return []
    missing = "not set"
    pairs = {key: (old.get(key, missing), new.get(key, missing)) for key in {**old, **new}}
    changed = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    return [
        f"{key} {_setting(was)} -> {_setting(now)}"
        for key, (was, now) in changed.items()
        # An override or argument that changes its setting is named already.
        if key.removeprefix("--") not in changed.keys() - {key}
        and CONFIG_KEYS.get(key) not in changed
    ]


def _setting(value: Any) -> str:
    """A value as config files have it, but for the quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def has_finished(target: Path, request: str) -> bool:
    """Whether the result of the requested training run is already at the target.

    Args:
        request: Digest of the training run's identity; see `complete_meta`.
    """
    if not (target / HISTORY).exists():
        return False
    return bool(read_section(target).get("training", {}).get("request") == request)


def read_result(target: Path, shown: Path) -> Finished:
    """Read from a trained pipeline how its training ended.

    Args:
        shown: The target as the user wrote it.
    """
    facts = read_section(target)["training"]
    history = (target / HISTORY).read_text(encoding="utf8").splitlines()
    scores = [json.loads(row)["score"] for row in history]
    promise = facts.get("abstention")
    since_best = len(scores) - 1 - scores.index(max(scores))
    return Finished(
        best_step=facts["best_step"],
        metric=facts["metric"],
        score=facts["score"],
        highest_score=max(scores),
        path=shown,
        evaluations_without_improvement=since_best if facts["stopped_early"] else 0,
        kept_because=facts["choice"],
        seed=facts["seed"],
        abstention=FittedAbstention.from_json(promise) if promise else None,
        min_accuracy=facts.get("min_accuracy"),
        seed_scores={int(seed): score for seed, score in facts.get("seed_scores", {}).items()},
    )


def describe_training(
    nlp: Language,
    classifier: TransformersTextCategorizer,
    plan: Planned,
    event: Evaluated,
    files: Mapping[str, Any],
) -> None:
    """Record in a pipeline's meta and config how it was trained.

    Args:
        event: The evaluation of the weights that are about to be saved.
        files: The data files; see `describe_files`.
    """
    evaluation, config = event.evaluation, plan.config
    nlp.meta["performance"] = {**evaluation.cats, "accuracy": evaluation.accuracy}
    encoder = nlp.meta.get("trf", {}).get("encoder", {})
    nlp.meta["trf"] = {
        "encoder": encoder,
        "training": {
            # Replaced below where the config or the data decided.
            **config.arguments.as_json(),
            "chosen": config.arguments.chosen(),
            "texts": len(plan.data.train),
            "dev_texts": len(plan.data.dev),
            **({"unlabeled_texts": plan.n_unlabeled} if plan.data.unlabeled else {}),
            "labels": dict(plan.data.label_counts),
            "exclusive_classes": config.exclusive,
            "architecture": classifier.cfg["architecture"],
            "epochs": config.epochs,
            "batch_size": config.batch_size,
            "trf_lr": config.trf_lr,
            "learn_rate": config.learn_rate,
            # The actual precision, not "auto".
            "precision": plan.precision,
            "layer_decay": config.layer_decay,
            "averages": config.averages,
            "seed": config.seed,
            "device": plan.device,
            "versions": {name: installed_version(name) for name in _VERSIONS},
            **files,
            **({"code": code_hashes()} if code_hashes() else {}),
            "metric": config.metric,
            "best_step": event.step,
            "score": event.score,
            **_promise(classifier),
        },
    }
    sections = {name: config.config[name] for name in ("training", "schedule")}
    # On loading, spaCy adds all scores of the components that the config doesn't name.
    unused: dict[str, Any] = {
        score: None
        for name in nlp.pipe_names
        for score in nlp.get_pipe_meta(name).default_score_weights or ()
    }
    weights = unused | dict(sections["training"]["score_weights"])
    sections["training"] = {**sections["training"], "score_weights": weights}
    nlp.config = nlp.config.merge(sections)


def _promise(classifier: TransformersTextCategorizer) -> dict[str, Any]:
    """When the classifier doesn't answer, and what it promises; nothing if that wasn't fitted."""
    fitted = classifier.fitted_abstention
    return {} if fitted is None else {"abstention": fitted.as_json()}


def complete_meta(path: Path, state: TrainerState, source: str, request: str) -> None:
    """Add to a trained pipeline what is only known after training.

    No file of a pipeline has a time or duration: the same training gives the same bytes.

    Args:
        source: Digest of the untrained pipeline.
        request: Digest of the training run's identity, by which `has_finished` recognizes it.
    """
    meta = read_object(path / META, PipelineError)
    meta["trf"]["training"].update(
        steps=state.step,
        stopped_early=state.stopped_early,
        choice=state.kept_because,
        source=source,
        request=request,
    )
    srsly.write_jsonl(path / HISTORY, state.history)
    update_meta(path, meta, added=[HISTORY])


def record_seeds(path: Path, scores: Mapping[int, float]) -> None:
    """Add to a trained pipeline the scores of all seeds, of which it is the median."""
    meta = read_object(path / META, PipelineError)
    meta["trf"]["training"]["seed_scores"] = {str(seed): scores[seed] for seed in sorted(scores)}
    update_meta(path, meta, added=[])
