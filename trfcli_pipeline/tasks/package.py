"""Build an installable Python package from a pipeline directory.

`spacy.cli.package` lays out the package. Unlike it, we check names first (spaCy would exit), build
without network access where possible, capture the build's output, and put the result in place in
one step, so that a failed run leaves an existing package untouched.
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

from trfcli_pipeline.data.files import directory_bytes
from trfcli_pipeline.data.outputs import manifest
from trfcli_pipeline.data.outputs.directories import Kind, open_directory
from trfcli_pipeline.errors import OutputError, PipelineError, one_line
from trfcli_pipeline.pipeline.language import DISTRIBUTION
from trfcli_pipeline.pipeline.loading import check_name, check_pipeline
from trfcli_pipeline.tasks.model_card import model_card

ARCHIVES = {"sdist": "*.tar.gz", "wheel": "*.whl"}
# The first version that builds wheels without the "wheel" package.
SETUPTOOLS = Version("70.1")
SHOWN_LINES = 15


def own_files(path: Path) -> frozenset[str] | None:
    """Find the files of a package source that `package` wrote; None if it isn't one."""
    files = manifest.read_manifest(path)
    return frozenset({*files, manifest.META}) if files and "setup.py" in files else None


PACKAGE = Kind("a package of trf", own_files)


def package(
    model_dir: Path,
    output_dir: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    formats: Sequence[str] = ("sdist", "wheel"),
    force: bool = False,
) -> list[Path]:
    """Build an installable package from a pipeline directory.

    The package is written to `output_dir/LANG_NAME-VERSION`, its archives to `dist` inside it. It
    requires spaCy, the distributions that provide the functions in the pipeline's config, and
    trfcli if the pipeline uses it. Its README.md is the pipeline directory's, if there is one, and
    a generated model card otherwise.

    Args:
        model_dir: The pipeline, as saved by `Language.to_disk`.
        output_dir: Parent directory of the package, created if missing.
        name: Name without the language. Default: the name in meta.json.
        version: PEP 440 version, which is normalized. Default: the version in meta.json.
        formats: Archives to build: "sdist", "wheel", both, or none.
        force: Replace an existing package. Other files in its directory stay.

    Returns:
        Paths of the archives, the sdist first.

    Raises:
        PipelineError: `model_dir` isn't a pipeline, can't be loaded, or has a name, version or
            meta.json that a package can't have.
        OutputError: The package already exists, can't be written, or can't be built.
    """
    unknown = [form for form in formats if form not in ARCHIVES]
    if unknown:
        raise OutputError(
            f"Unknown format {unknown[0]!r}", hint=f"Available: {', '.join(ARCHIVES)}"
        )
    model_dir, output_dir = Path(model_dir).resolve(), Path(output_dir).resolve()
    meta = _package_meta(model_dir, name=name, version=version)
    full_name = f"{meta['lang']}_{meta['name']}"
    target = output_dir / f"{full_name}-{meta['version']}"
    if output_dir.exists() and not output_dir.is_dir():
        raise OutputError(f"{output_dir} is not a directory")
    with open_directory(target, PACKAGE, force=force, models=[model_dir]) as claim:
        # Building an archive copies the files before it packs them.
        claim.check_room((1 + 2 * len(formats)) * directory_bytes(model_dir))
        with claim.staged() as staging:
            _assemble(model_dir, staging, meta)
            if formats:
                _build(staging, formats)
            manifest.write_manifest(staging, manifest.list_files(staging))
    return [path for pattern in ARCHIVES.values() for path in (target / "dist").glob(pattern)]


def _package_meta(model_dir: Path, *, name: str | None, version: str | None) -> dict[str, Any]:
    """Return the meta.json of the package, without what spaCy adds."""
    path = model_dir / "meta.json"
    meta = _read_meta(path)
    if name is not None:
        meta["name"] = name
    if version is not None:
        meta["version"] = version
    meta.setdefault("spacy_version", get_minor_version_range(spacy_version))
    errors = validate(ModelMetaSchema, meta)
    if errors:
        raise PipelineError(f"{path}: {'; '.join(errors)}")
    # spaCy's setup.py always puts the language before the name; its folder has it only once.
    meta["name"] = meta["name"].removeprefix(f"{meta['lang']}_")
    for key in ("lang", "name"):
        check_name(meta[key])
    try:
        # As setuptools normalizes it in the names of archives.
        meta["version"] = str(Version(meta["version"]))
    except InvalidVersion as error:
        raise PipelineError(
            f"{meta['version']!r} is not a version of a Python package",
            hint="Use a form like 1.0.0 or 1.0.0rc1 (PEP 440)",
        ) from error
    meta["requirements"] = _requirements(model_dir, meta)
    return meta


def _read_meta(path: Path) -> dict[str, Any]:
    check_pipeline(str(path.parent))
    if not path.is_file():
        raise PipelineError(f"{path.parent}: not a spaCy pipeline (it has no {path.name})")
    try:
        meta = srsly.read_json(path)
    except ValueError as error:
        raise PipelineError(f"{path} is not valid JSON: {one_line(error)}") from error
    if not isinstance(meta, dict):
        raise PipelineError(f"{path} is not a JSON object")
    return meta


def _requirements(model_dir: Path, meta: Mapping[str, Any]) -> list[str]:
    """Return the requirements in meta.json, plus spaCy, plus trfcli if the pipeline uses it.

    spaCy adds the other distributions itself. It doesn't find trfcli if that is an editable
    install, or if only `nlp.lang` refers to it.
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
    """Return trfcli as a requirement, or None if the config uses nothing that it registers."""
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


def _assemble(model_dir: Path, package_dir: Path, meta: Mapping[str, Any]) -> None:
    """Lay out the package in an empty directory that has the package's name."""
    meta_path = package_dir.with_suffix(".json")
    srsly.write_json(meta_path, meta)
    try:
        with warnings.catch_warnings():
            # spaCy doesn't close the files that it writes.
            warnings.simplefilter("ignore", ResourceWarning)
            spacy_package(
                model_dir,
                package_dir.parent,
                meta_path=meta_path,
                create_sdist=False,
                create_wheel=False,
                silent=True,
            )
    # spaCy loads the pipeline to find its requirements, which runs the code of its components.
    except (FileNotFoundError, ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PipelineError(f"{model_dir} can't be loaded: {one_line(error)}") from error
    module_dir = package_dir / f"{meta['lang']}_{meta['name']}"
    data_dir = module_dir / package_dir.name
    # setup.py copies it too, but only when it runs.
    for directory in (module_dir, data_dir):
        shutil.copyfile(package_dir / "meta.json", directory / "meta.json")
    if not (model_dir / "README.md").exists():
        card = model_card(srsly.read_json(package_dir / "meta.json"))
        for directory in (package_dir, data_dir):
            (directory / "README.md").write_text(card, encoding="utf-8")


def _build(package_dir: Path, formats: Sequence[str]) -> None:
    # An isolated build downloads setuptools.
    options = ["--no-isolation"] if _has_setuptools() else []
    options += [f"--{form}" for form in ARCHIVES if form in formats]
    result = subprocess.run(
        [sys.executable, "-m", "build", *options, str(package_dir)],
        # In the package itself, its build/ directory would hide the module of that name.
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
    # It has copies of the weights.
    shutil.rmtree(package_dir / "build", ignore_errors=True)
    for leftover in package_dir.glob("*.egg-info"):
        shutil.rmtree(leftover)


def _has_setuptools() -> bool:
    try:
        return Version(metadata.version("setuptools")) >= SETUPTOOLS
    except metadata.PackageNotFoundError:
        return False
