"""Stages, schedulers, samplers and augmentations of the user's own in a space.

    stages: {mine: my_blocks.py:GatedStage}
    schedulers: {margin: my_blocks.py:Margin}

Each name is then used as one of this project's is, and its settings are checked by the class that
sits with the code. Names that installed packages offer as entry points need no such line.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import BeforeValidator, Field, create_model

from emgmodels.config import (
    STAGE_NAMES,
    AugmentationConfig,
    ConvConfig,
    EncoderConfig,
    Frozen,
    ModelConfig,
    StageConfig,
    TrainingConfig,
    section_kind,
    settings_of,
    stage_name,
)
from emgmodels.config.stage_names import stage_of
from emgmodels.notation import RESERVED
from emgmodels.own_code import (
    FOLDER,
    Code,
    CodeError,
    NotAllowedError,
    Reference,
    check_allowed,
    find_code,
    install,
    load,
    refusal,
)
from search.space.choices import OwnCode
from search.space.files import Layer
from search.space.parsing import DISTRIBUTIONS, SpaceError
from search.space.sections import CODE
from search.space.settings import (
    SamplerConfig,
    SamplerName,
    SchedulerConfig,
    SchedulerName,
    SearchConfig,
    Sections,
    SpaceFile,
    by_name,
)

SECTIONS = ("stages", "schedulers", "samplers", "augmentations")
"""Keys of a space file that name code; ``emgsearch.stages`` is the first group of entry points."""
_NAME = re.compile(r"[A-Za-z]\w*")
_KINDS: dict[str, type[Frozen]] = {"stages": EncoderConfig, "augmentations": AugmentationConfig}
_CHOSEN = {"schedulers": get_args(SchedulerName), "samplers": get_args(SamplerName)}


@dataclass(frozen=True)
class Own:
    """What a space has of the user's own.

    Attributes:
        parts: the parts, by section and name.
        codes: their sources.
    """

    parts: tuple[tuple[str, str, OwnCode], ...] = ()
    codes: tuple[Code, ...] = ()

    @property
    def file(self) -> type[SpaceFile]:
        """The class of a space file with these parts."""
        return _file_kind(self.parts) if self.parts else SpaceFile

    @property
    def search(self) -> type[SearchConfig]:
        """The class of its ``search`` section."""
        kind: Any = section_kind(self.file, "search")
        return kind

    @property
    def model(self) -> type[ModelConfig]:
        """The class of its ``model`` section."""
        kind: Any = section_kind(self.file, "model")
        return kind

    def plain(self) -> dict[str, dict[str, str]]:
        """Return the sections that name the parts, as a run folder's space file has them."""
        found: dict[str, dict[str, str]] = {}
        for section, name, part in self.parts:
            reference = Reference.read(part.code)
            copy = dataclasses.replace(reference, path=f"{FOLDER}/{reference.path}")
            found.setdefault(section, {})[name] = str(copy)
        return found

    def hashes(self) -> dict[str, str]:
        """Return the sha256 of each source, by its name."""
        return {code.name: code.sha256 for code in self.codes}


@dataclass(frozen=True)
class _Named:
    """A reference, and where it stands."""

    text: Any
    label: str
    path: Path
    is_offered: bool = False


def take_own(layers: Sequence[Layer], path: Path, imports: bool = True) -> tuple[Own, list[Layer]]:
    """Return what layers name of the user's own, and the layers without these names.

    Args:
        layers: as ``read_layers`` gives them.
        path: the space file.
        imports: import the code, for its settings; else any settings are taken, as for a report.

    Raises:
        SpaceError: everything that is wrong with the code or its names.
    """
    mistakes: list[str] = []
    found = dict(_named(layers, path, mistakes))
    rest = [
        dataclasses.replace(layer, values=_without(layer.values)) if layer.values else layer
        for layer in layers
    ]
    values = [layer.values for layer in rest]
    for key, entry in _offered(path, _words(values)).items():
        found.setdefault(key, entry)
    parts: list[tuple[str, str, OwnCode]] = []
    codes: dict[str, Code] = {}
    stages = {*STAGE_NAMES, *(name for section, name in found if section == "stages")}
    refused: dict[Path, list[str]] = {}
    for (section, name), entry in found.items():
        try:
            _check_name(section, name, stages)
            reference = Reference.read(entry.text)
            if not imports:
                parts.append((section, name, _unread(section, name, reference, values)))
                continue
            code, reference = find_code(reference, entry.path.parent)
            if not entry.is_offered:
                check_allowed(code, entry.path)
            install(code)
            least = StageConfig if section == "stages" else Frozen
            settings = settings_of(load(str(reference)), least)
            parts.append((section, name, OwnCode(str(reference), settings)))
            codes[code.sha256] = code
        except NotAllowedError:
            refused.setdefault(entry.path, []).append(f"{section}.{name}: {entry.text}")
        except CodeError as error:
            mistakes.append(f"{entry.label}: {section}.{name}: {error}")
    mistakes += [refusal(where, named) for where, named in refused.items()]
    if mistakes:
        raise SpaceError(mistakes)
    return Own(tuple(parts), tuple(codes.values())), rest


def _named(
    layers: Sequence[Layer], path: Path, mistakes: list[str]
) -> Iterator[tuple[tuple[str, str], _Named]]:
    for layer in layers:
        where = path if layer.override else Path(layer.label)
        for section in SECTIONS:
            names = layer.values.get(section, {})
            if not isinstance(names, dict):
                mistakes.append(
                    f"{layer.label}: {section}: {names!r} is not allowed: write "
                    f"{{mine: my_blocks.py:NAME}}"
                )
                continue
            for name, text in names.items():
                yield (section, str(name)), _Named(text, layer.label, where)


def _without(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in SECTIONS}


def _offered(path: Path, words: set[str]) -> dict[tuple[str, str], _Named]:
    """Return what installed packages offer under names that a space mentions."""
    return {
        (section, point.name): _Named(point.value, f"{path}: entry point", path, is_offered=True)
        for section in SECTIONS
        for point in metadata.entry_points(group=f"emgsearch.{section}")
        if point.name in words and not _is_taken(section, point.name)
    }


def _words(values: Any) -> set[str]:
    """Return every key, name, and word of a notation in nested values."""
    if isinstance(values, dict):
        return set(map(str, values)).union(*map(_words, values.values()))
    if isinstance(values, list | tuple):
        return set().union(*map(_words, values))
    return set(re.findall(r"\w+", values)) if isinstance(values, str) else set()


def _check_name(section: str, name: str, stages: set[str]) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise CodeError("the name must be a letter, then letters, digits and underscores")
    if _is_taken(section, name):
        raise CodeError("the name has a meaning of its own already: take another")
    if section == "stages" and (first := stage_of(name, stages - {name})) != name:
        raise CodeError(f"the name means a second {first}: take another")


def _is_taken(section: str, name: str) -> bool:
    taken = {*DISTRIBUTIONS, *_CHOSEN.get(section, ()), *(RESERVED if section == "stages" else ())}
    kind = _KINDS.get(section)
    return name in taken or (
        kind is not None and (name in kind.model_fields or hasattr(kind, name))
    )


def _unread(section: str, name: str, reference: Reference, values: Any) -> OwnCode:
    """Return a part without its code: any settings are right that are given somewhere."""
    least = StageConfig if section == "stages" else Frozen
    used = _used(values, section.rstrip("s"), name)
    fields: Any = {key: (Any, None) for key in sorted(used) if key not in least.model_fields}
    original = dataclasses.replace(reference, path=reference.path.removeprefix(f"{FOLDER}/"))
    return OwnCode(str(original), _model(f"Settings_{name}", least, fields))


def _used(values: Any, holder: str, name: str) -> set[str]:
    """Return the keys that stand below a part's name, or beside it where it is chosen."""
    if isinstance(values, list | tuple):
        return set().union(*(_used(value, holder, name) for value in values))
    if isinstance(values, str):  # which may be an architecture in compact notation
        settings = re.findall(rf"\b{name}:[^\s()]+\(([^()]*)\)", values)
        return set(re.findall(r"(\w+)\s*=", " ".join(settings)))
    if not isinstance(values, dict):
        return set()
    found = set().union(*(_used(value, holder, name) for value in values.values()))
    repeats = (v for key, v in values.items() if stage_of(str(key), [name]) == name)
    for inner in (*repeats, values.get(holder)):
        options = inner.get("choice", [inner]) if isinstance(inner, dict) else []
        for option in options if isinstance(options, list) else []:
            found |= set(option) if isinstance(option, dict) else set()
    return {key for key in found if isinstance(key, str) and key.isidentifier()} - {CODE}


@functools.lru_cache(maxsize=64)
def _file_kind(parts: tuple[tuple[str, str, OwnCode], ...]) -> type[SpaceFile]:
    """Return the class of a space file whose sections know these parts."""
    own: dict[str, dict[str, OwnCode]] = {section: {} for section in SECTIONS}
    for section, each, part in parts:
        own[section][each] = part
    name: Any = stage_name(tuple(own["stages"]))
    encoder = _model(
        "EncoderConfig",
        EncoderConfig,
        {"order": (tuple[name, ...], EncoderConfig.model_fields["order"])}
        | _sections(own["stages"]),
    )
    model = _section_of("ModelConfig", ModelConfig, encoder=encoder(conv=ConvConfig()))
    changes = _model("AugmentationConfig", AugmentationConfig, _sections(own["augmentations"]))
    training = _section_of("TrainingConfig", TrainingConfig, augmentation=changes())
    search = _model(
        "SearchConfig",
        SearchConfig,
        {
            key: (
                Annotated[kind, BeforeValidator(by_name)],
                Field(kind(), description=SearchConfig.model_fields[key].description),
            )
            for key, kind in {
                "scheduler": _choosing(SchedulerConfig, _CHOSEN["schedulers"], own["schedulers"]),
                "sampler": _choosing(SamplerConfig, _CHOSEN["samplers"], own["samplers"]),
            }.items()
        },
    )
    whole = {"model": model(), "training": training(), "search": search()}
    demo = _section_of("Sections", Sections, **whole)
    file = _section_of("SpaceFile", SpaceFile, **whole)
    return _model("SpaceFile", file, {"demo": (demo | None, None)})


def _section_of(name: str, base: type[Frozen], **defaults: Frozen) -> Any:
    """Return a class of which some sections are of other classes."""
    fields = {
        key: (type(value), Field(value, description=base.model_fields[key].description))
        for key, value in defaults.items()
    }
    return _model(name, base, fields)


def _sections(parts: Mapping[str, OwnCode]) -> dict[str, Any]:
    """Return the fields of parts that have a section of their own; the code is part of it."""
    fields = {}
    for name, part in parts.items():
        code = {CODE: (Literal[part.code], part.code)}
        kind = _model(part.settings.__name__, part.settings, code)
        about = (part.settings.__doc__ or name).splitlines()[0]
        fields[name] = (kind | None, Field(None, description=about))
    return fields


def _choosing(base: type[Any], names: Sequence[str], parts: Mapping[str, OwnCode]) -> type[Any]:
    """Return a class that chooses among more names, each with its settings beside the name."""
    wanted: dict[str, list[Any]] = {}
    about: dict[str, str | None] = {}
    for part in parts.values():
        for key, field in part.settings.model_fields.items():
            wanted.setdefault(key, []).append(_annotation(field))
            about.setdefault(key, field.description)
    fields: dict[str, Any] = {}
    for key, kinds in wanted.items():
        if known := base.model_fields.get(key):
            kinds, about[key] = [_annotation(known), *kinds], known.description
        fields[key] = (Union[(*kinds, None)], Field(None, description=about[key]))
    choices = Literal[(*names, *parts)]  # type: ignore[valid-type]
    usual = base.model_fields["name"]
    fields["name"] = (choices, Field(usual.default, description=usual.description))
    kind = _model(base.__name__, base, fields, *(part.code for part in parts.values()))
    kind.own = dict(parts)
    return kind


def _annotation(field: Any) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _model(name: str, base: type[Any], fields: Mapping[str, Any], *code: str) -> type[Any]:
    """Return a class derived from another, which pickles as one of this module.

    Ray's snapshots hold spaces. A process that goes on has read the space, and so made the class,
    before it opens the snapshot.

    Args:
        name: what its name begins with.
        base: the other class.
        fields: its own fields.
        code: references to the code that it stands for, where no field names it.
    """
    identity = f"{base.__module__}.{base.__qualname__} {sorted(_shown(fields))} {sorted(code)}"
    unique = f"{name}_{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    # Two spaces that differ in their stages have one search section: of two classes of one name,
    # the elder could not be pickled.
    if unique not in globals():
        made: Any = create_model(name, __base__=base, __module__=__name__, **fields)
        made.__doc__ = base.__doc__
        made.__qualname__ = made.__name__ = unique
        globals()[unique] = made
    return globals()[unique]


def _shown(fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield fields with their types, the same in every process: without addresses of functions."""
    for key, (kind, _) in fields.items():
        yield re.sub(r" at 0x[0-9a-f]+", "", f"{key}: {kind}")
