"""A pipeline directory as an installable Python package.

spaCy's own `spacy.cli.package` lays out the package. What is different here: the name is checked
beforehand, since spaCy would exit; the build runs without a network where it can, and its output
is captured; and the result appears in one step, so that a failure leaves what was there before.
"""

import shutil
import subprocess
import sys
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

from trfcli_pipeline.data.atomic import staged_directory
from trfcli_pipeline.errors import OutputError, PipelineError, one_line
from trfcli_pipeline.pipeline.language import DISTRIBUTION
from trfcli_pipeline.pipeline.loading import check_name
from trfcli_pipeline.tasks.model_card import model_card

__all__ = ["model_dir_meta", "package"]

ARCHIVES = {"sdist": "*.tar.gz", "wheel": "*.whl"}
# The first setuptools that builds wheels without the package "wheel"
SETUPTOOLS = Version("70.1")
SHOWN_LINES = 15


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
        with staged_directory(target) as staging:
            _assemble(model_dir, staging, meta)
            if formats:
                _build(staging, formats)
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
        raise PipelineError(f"{path} is not valid JSON: {one_line(error)}") from error
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
        check_name(meta[key])
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
        reason = one_line(error)
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


def _assemble(model_dir: Path, package_dir: Path, meta: Mapping[str, Any]) -> None:
    """Lay out the package in a directory that has its name and is empty."""
    meta_path = package_dir.with_suffix(".json")
    srsly.write_json(meta_path, meta)
    try:
        with warnings.catch_warnings():
            # spaCy leaves it to the garbage collector to close what it writes
            warnings.simplefilter("ignore", ResourceWarning)
            spacy_package(
                model_dir,
                package_dir.parent,
                meta_path=meta_path,
                create_sdist=False,
                create_wheel=False,
                silent=True,
            )
    # A pipeline is loaded to find out what it requires, which runs the code of its components
    except (FileNotFoundError, ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PipelineError(f"{model_dir} can't be loaded: {one_line(error)}") from error
    module_dir = package_dir / f"{meta['lang']}_{meta['name']}"
    data_dir = module_dir / package_dir.name
    # setup.py does the same, but only when it runs
    for directory in (module_dir, data_dir):
        shutil.copyfile(package_dir / "meta.json", directory / "meta.json")
    if not (model_dir / "README.md").exists():
        card = model_card(srsly.read_json(package_dir / "meta.json"))
        for directory in (package_dir, data_dir):
            (directory / "README.md").write_text(card, encoding="utf-8")


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
