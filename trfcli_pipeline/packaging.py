"""A pipeline directory as an installable Python package, with a model card.

spaCy's own `spacy.cli.package` lays out the package. What is different here: the name is checked
beforehand, since spaCy would exit; the build runs without a network where it can, and its output
is captured; and the result appears in one step, so that a failure leaves what was there before.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import srsly
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from spacy.about import __version__ as spacy_version
from spacy.cli.package import package as spacy_package
from spacy.schemas import ModelMetaSchema, validate
from spacy.util import get_minor_version_range, load_config, walk_dict

from trfcli_pipeline.errors import OutputError, PipelineError

__all__ = ["model_card", "model_dir_meta", "package"]

DISTRIBUTION = "trfcli"
ARCHIVES = {"sdist": "*.tar.gz", "wheel": "*.whl"}
# The first setuptools that builds wheels without the package "wheel"
SETUPTOOLS = Version("70.1")
NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?", re.ASCII)
SHOWN_LINES = 15

# The tables of the model card: keys of meta.json and what they are called
ENCODER_ROWS = {
    "name": "Name",
    "source": "Source",
    "revision": "Revision",
    "model_type": "Type",
    "layers": "Layers",
    "width": "Width",
    "parameters": "Parameters",
}
TRAINING_ROWS = {
    "texts": "Training texts",
    "dev_texts": "Dev texts",
    "exclusive_classes": "Exclusive classes",
    "architecture": "Architecture",
    "epochs": "Epochs",
    "steps": "Steps",
    "best_step": "Best step",
    "batch_size": "Batch size",
    "trf_lr": "Learning rate of the encoder",
    "learn_rate": "Learning rate of the head",
    "seed": "Seed",
    "device": "Device",
    "seconds": "Seconds",
    "versions": "Versions",
    "data": "Data (SHA-256)",
}
SCORE_ROWS = {
    "accuracy": "Accuracy",
    "cats_micro_f": "Micro F",
    "cats_macro_p": "Macro precision",
    "cats_macro_r": "Macro recall",
    "cats_macro_f": "Macro F",
    "cats_macro_auc": "Macro AUC",
    "ece": "Calibration error",
}
# Numbers beside the scores that aren't scores, or that repeat one
NOT_SCORES = {
    "cats_score",
    "cats_micro_p",
    "cats_micro_r",
    "n_scored",
    "n_texts",
    "n_words",
    "speed",
    "threshold",
}


def package(
    model_dir: Path,
    output_dir: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    formats: Sequence[str] = ("sdist", "wheel"),
    force: bool = False,
) -> list[Path]:
    """Make an installable package of a pipeline directory, which isn't changed itself.

    The package is written to `output_dir/LANG_NAME-VERSION`, its archives to `dist` therein. It
    requires spaCy, the distributions whose functions the pipeline's config names, and this one if
    the pipeline uses it. Its README.md is that of the pipeline directory, or else a model card.

    Args:
        model_dir: The pipeline, as written by `Language.to_disk`.
        output_dir: Created if it isn't there.
        name: Name without the language, instead of the one in meta.json.
        version: PEP 440 version, instead of the one in meta.json. It is written in normal form.
        formats: Archives to build: "sdist", "wheel", both, or none.
        force: Replace a package that is already there.

    Returns:
        The archives, sdist before wheel.

    Raises:
        PipelineError: `model_dir` is no pipeline or can't be loaded, or its name, its version or
            its meta.json can't be used for a package.
        OutputError: The package exists, can't be written, or its build failed.
    """
    unknown = [form for form in formats if form not in ARCHIVES]
    if unknown:
        raise OutputError(f"Unknown format {unknown[0]!r}", hint=f"Known: {', '.join(ARCHIVES)}")
    model_dir, output_dir = Path(model_dir).resolve(), Path(output_dir).resolve()
    meta = _package_meta(model_dir, name=name, version=version)
    full_name = f"{meta['lang']}_{meta['name']}"
    target = output_dir / f"{full_name}-{meta['version']}"
    _check_target(target, model_dir, force=force)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        # beside the target, so that it can be moved there in one step
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}-", dir=output_dir, ignore_cleanup_errors=True
        ) as stage:
            staged = _assemble(model_dir, Path(stage), meta)
            if formats:
                _build(staged, formats)
            _replace(target, staged, aside=Path(stage) / "replaced")
    except OSError as error:
        raise OutputError(f"{target} can't be written: {error}") from error
    return [path for pattern in ARCHIVES.values() for path in (target / "dist").glob(pattern)]


def model_dir_meta(model_dir: Path) -> dict[str, Any]:
    """Read the meta.json of a pipeline directory.

    Raises:
        PipelineError: The directory is missing, or isn't a spaCy pipeline.
    """
    model_dir = Path(model_dir)
    if not model_dir.is_dir():
        raise PipelineError(f"{model_dir}: no such directory")
    for file_name in ("config.cfg", "meta.json"):
        if not (model_dir / file_name).is_file():
            raise PipelineError(f"{model_dir} is no spaCy pipeline: it has no {file_name}")
    path = model_dir / "meta.json"
    try:
        meta = srsly.read_json(path)
    except ValueError as error:
        raise PipelineError(f"{path} is not valid JSON: {_one_line(error)}") from error
    if not isinstance(meta, dict):
        raise PipelineError(f"{path} is not a JSON object")
    return meta


def _package_meta(model_dir: Path, *, name: str | None, version: str | None) -> dict[str, Any]:
    """The meta.json of the package, except for what spaCy adds."""
    meta = model_dir_meta(model_dir)
    if name is not None:
        meta["name"] = name
    if version is not None:
        meta["version"] = version
    meta.setdefault("spacy_version", get_minor_version_range(spacy_version))
    errors = validate(ModelMetaSchema, meta)
    if errors:
        raise PipelineError(f"{model_dir / 'meta.json'}: {'; '.join(errors)}")
    # spaCy's setup.py always puts the language before the name, but its directory only if needed
    meta["name"] = meta["name"].removeprefix(f"{meta['lang']}_")
    for key in ("lang", "name"):
        if not NAME.fullmatch(meta[key]):
            raise PipelineError(
                f"{meta[key]!r} can't be part of the name of a package",
                hint="Use letters (a-z, A-Z), digits and underscores, with a letter at the start "
                "and no underscore at the end",
            )
    try:
        # archives have it in normal form, and so have the directory and the meta.json then
        meta["version"] = str(Version(meta["version"]))
    except InvalidVersion as error:
        raise PipelineError(
            f"{meta['version']!r} is not a version of a Python package",
            hint="Use a form like 1.0.0 or 1.0.0rc1 (PEP 440)",
        ) from error
    meta["requirements"] = _requirements(model_dir, meta)
    return meta


def _requirements(model_dir: Path, meta: Mapping[str, Any]) -> list[str]:
    """Requirements of the pipeline's meta.json, of spaCy, and of this project if it is used.

    spaCy adds other distributions itself, except those that are here already. It doesn't find
    this project if that is installed in editable form, or if only `nlp.lang` refers to it.
    """
    requirements: dict[str, str] = {}
    for requirement in meta.get("requirements", []):
        try:
            requirements.setdefault(canonicalize_name(Requirement(requirement).name), requirement)
        except InvalidRequirement as error:
            raise PipelineError(
                f"{model_dir / 'meta.json'}: {requirement!r} is not a requirement"
            ) from error
    requirements.setdefault("spacy", f"spacy{meta['spacy_version']}")
    own = _own_requirement(model_dir)
    if own is not None:
        requirements.setdefault(DISTRIBUTION, own)
    return list(requirements.values())


def _own_requirement(model_dir: Path) -> str | None:
    """This project as a requirement, None if the config names nothing that it registers."""
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
    entry_points = distribution.entry_points
    registered = {point.name for point in entry_points if point.group.startswith("spacy_")}
    try:
        config = load_config(model_dir / "config.cfg")
    except ValueError as error:
        reason = _one_line(error)
        raise PipelineError(f"{model_dir / 'config.cfg'} can't be read: {reason}") from error
    for path, value in walk_dict({key: config.get(key, {}) for key in ("nlp", "components")}):
        is_name = path == ["nlp", "lang"] or path[-1] == "factory" or path[-1].startswith("@")
        if is_name and value in registered:
            return f"{DISTRIBUTION}{get_minor_version_range(distribution.version)}"
    return None


def _check_target(target: Path, model_dir: Path, *, force: bool) -> None:
    output_dir = target.parent
    if output_dir.exists() and not output_dir.is_dir():
        raise OutputError(f"{output_dir} isn't a directory")
    if output_dir.is_relative_to(model_dir):
        raise OutputError(f"{output_dir} is inside the pipeline's own directory, {model_dir}")
    if model_dir.is_relative_to(target):
        raise OutputError(f"{target} holds the pipeline itself, so it can't be replaced")
    if target.exists() and not force:
        raise OutputError(f"{target} exists", hint="--force replaces it")


def _assemble(model_dir: Path, stage: Path, meta: Mapping[str, Any]) -> Path:
    """Lay out the package in a directory of its own inside the stage."""
    meta_path = stage / "meta.json"
    srsly.write_json(meta_path, meta)
    root = stage / "package"
    root.mkdir()
    try:
        with warnings.catch_warnings():
            # spaCy leaves it to the garbage collector to close what it writes
            warnings.simplefilter("ignore", ResourceWarning)
            spacy_package(
                model_dir,
                root,
                meta_path=meta_path,
                create_sdist=False,
                create_wheel=False,
                silent=True,
            )
    # A pipeline is loaded to find out what it requires, which runs the code of its components
    except (FileNotFoundError, ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PipelineError(f"{model_dir} can't be loaded: {_one_line(error)}") from error
    full_name = f"{meta['lang']}_{meta['name']}"
    package_dir = root / f"{full_name}-{meta['version']}"
    data_dir = package_dir / full_name / package_dir.name
    # setup.py does the same, but only when it runs
    for directory in (package_dir / full_name, data_dir):
        shutil.copyfile(package_dir / "meta.json", directory / "meta.json")
    if not (model_dir / "README.md").exists():
        card = model_card(srsly.read_json(package_dir / "meta.json"))
        for directory in (package_dir, data_dir):
            (directory / "README.md").write_text(card, encoding="utf-8")
    return package_dir


def _build(package_dir: Path, formats: Sequence[str]) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        *(f"--{form}" for form in ARCHIVES if form in formats),
    ]
    if _has_setuptools():
        # an isolated build would download setuptools
        command.append("--no-isolation")
    result = subprocess.run(
        [*command, str(package_dir)],
        # not the package itself, where a directory build/ would hide the module
        cwd=package_dir.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        lines = result.stdout.strip().splitlines()[-SHOWN_LINES:]
        raise OutputError(f"Building {package_dir.name} failed", hint="\n".join(lines))
    # copies of the weights that nobody needs any more
    shutil.rmtree(package_dir / "build", ignore_errors=True)
    for leftover in package_dir.glob("*.egg-info"):
        shutil.rmtree(leftover)


def _has_setuptools() -> bool:
    try:
        return Version(metadata.version("setuptools")) >= SETUPTOOLS
    except metadata.PackageNotFoundError:
        return False


def _replace(target: Path, new: Path, *, aside: Path) -> None:
    """Move a new directory to its place, and what was there aside."""
    if not target.exists():
        new.rename(target)
        return
    target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        aside.rename(target)
        raise


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


# The model card


def model_card(meta: Mapping[str, Any]) -> str:
    """Describe a pipeline in Markdown, for the README.md of its package.

    Args:
        meta: The content of its meta.json. Beside spaCy's keys, these are shown if present:
            `trf.encoder` and `trf.training`, as training writes them, and `trf.test`, scores on
            test data as `Evaluation.metrics` gives them. `performance` holds the dev scores.
    """
    extra = _mapping(meta, "trf")
    training, test = _mapping(extra, "training"), _mapping(extra, "test")
    sections = [
        _summary_section(meta),
        _labels_section(_mapping(meta, "labels"), training),
        _scores_section(_mapping(meta, "performance"), test),
        _settings_section("Encoder", _mapping(extra, "encoder"), ENCODER_ROWS),
        _settings_section("Training", training, TRAINING_ROWS),
        _usage_section(meta),
        _requirements_section(meta),
        _licence_section(meta),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _summary_section(meta: Mapping[str, Any]) -> list[str]:
    full_name = _full_name(meta)
    pipes = ", ".join(_code(pipe) for pipe in meta.get("pipeline") or []) or "no components"
    line = (
        f"{_code(full_name)} {meta.get('version', '0.0.0')}, a spaCy pipeline for language "
        f"{_code(meta.get('lang', 'en'))}: {pipes}."
    )
    description = ["", str(meta["description"])] if meta.get("description") else []
    return [f"# {full_name}", "", line, *description]


def _labels_section(labels: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    counts = _mapping(training, "labels")
    # training counts the labels of one pipe, which may know more than the training texts have
    counted = next((p for p, names in labels.items() if counts and counts.keys() <= {*names}), None)
    lines: list[str] = []
    if counts:
        names = counts if counted is None else labels[counted]
        rows = [[_code(name), _number(counts.get(name, 0))] for name in names]
        lines += ["", *_table(["Label", "Training texts"], rows)]
    for pipe, names in labels.items():
        if names and pipe != counted:
            lines += ["", f"{_code(pipe)}: {', '.join(_code(name) for name in names)}"]
    return ["## Labels", *lines] if lines else []


def _scores_section(dev: Mapping[str, Any], test: Mapping[str, Any]) -> list[str]:
    columns = [(title, scores) for title, scores in (("Dev", dev), ("Test", test)) if scores]
    names = [name for _, scores in columns for name in scores if _is_score(name, scores[name])]
    # the known ones first
    ordered = dict.fromkeys([*(name for name in SCORE_ROWS if name in names), *names])
    rows = [
        [SCORE_ROWS.get(name, _code(name)), *(_score(scores, name) for _, scores in columns)]
        for name in ordered
    ]
    header = ["Score", *(_with_texts(title, scores) for title, scores in columns)]
    lines = ["", *_table(header, rows)] if rows else []
    for title, scores in columns:
        per_label = _mapping(scores, "cats_f_per_type")
        label_rows = [
            [_code(label), *(_score(prf, key) for key in "prf")] for label, prf in per_label.items()
        ]
        if label_rows:
            header = [f"Label ({title.lower()})", "Precision", "Recall", "F"]
            lines += ["", *_table(header, label_rows)]
    return ["## Scores", *lines] if lines else []


def _with_texts(title: str, scores: Mapping[str, Any]) -> str:
    n_texts = scores.get("n_texts")
    return f"{title} ({_number(n_texts)} texts)" if isinstance(n_texts, int) else title


def _is_score(name: str, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return name not in NOT_SCORES and not name.endswith("_loss")


def _score(scores: Mapping[str, Any], name: str) -> str:
    value = scores.get(name)
    return f"{value:.3f}" if isinstance(value, int | float) else ""


def _settings_section(
    title: str, settings: Mapping[str, Any], names: Mapping[str, str]
) -> list[str]:
    rows = [
        [name, _setting(settings[key])]
        for key, name in names.items()
        if settings.get(key) not in (None, "", {})
    ]
    return [f"## {title}", "", *_table(["Setting", "Value"], rows)] if rows else []


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(f"{_cell(key)} {_code(item)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value)
    return _cell(value)


def _usage_section(meta: Mapping[str, Any]) -> list[str]:
    full_name, version = _full_name(meta), meta.get("version", "0.0.0")
    # the name of a wheel has neither capitals nor runs of underscores
    wheel = f"{canonicalize_name(full_name).replace('-', '_')}-{version}-py3-none-any.whl"
    result = "doc.cats" if _has_text_classifier(meta) else "doc"
    return [
        "## Usage",
        "",
        "```",
        f"pip install {wheel}",
        "```",
        "",
        "```python",
        "import spacy",
        "",
        f'nlp = spacy.load("{full_name}")',
        'doc = nlp("A text.")',
        f"print({result})",
        "```",
    ]


def _has_text_classifier(meta: Mapping[str, Any]) -> bool:
    return any("textcat" in pipe for pipe in meta.get("pipeline") or [])


def _requirements_section(meta: Mapping[str, Any]) -> list[str]:
    requirements = meta.get("requirements") or []
    if not requirements:
        return []
    return ["## Requirements", "", *(f"- {_code(requirement)}" for requirement in requirements)]


def _licence_section(meta: Mapping[str, Any]) -> list[str]:
    if not meta.get("license"):
        return []
    author = f", by {meta['author']}" if meta.get("author") else ""
    return ["## Licence", "", f"{meta['license']}{author}"]


def _full_name(meta: Mapping[str, Any]) -> str:
    lang, name = meta.get("lang", "en"), meta.get("name", "pipeline")
    return name if name.startswith(f"{lang}_") else f"{lang}_{name}"


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A GitHub table; the cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", r"\|")


def _code(text: object) -> str:
    """A code span, which a backtick inside needs more backticks around."""
    cell = _cell(text)
    if "`" not in cell:
        return f"`{cell}`"
    fence = "`" * (max(len(run) for run in re.findall("`+", cell)) + 1)
    return f"{fence} {cell} {fence}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
