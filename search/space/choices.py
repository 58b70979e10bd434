"""A name with settings beside it; code of the user's own may stand for one of this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ValidationError

from emgmodels.config import Frozen, validated


@dataclass(frozen=True)
class OwnCode:
    """A scheduler or sampler, stage or augmentation of the user's own.

    Attributes:
        code: where it stands, with its hash; see ``emgmodels.own_code``.
        settings: the class of its settings.
    """

    code: str
    settings: type[Frozen]


@dataclass(frozen=True)
class Chosen:
    """A scheduler or sampler of the user's own that a space takes.

    Attributes:
        code: where it stands, with its hash.
        settings: its settings.
    """

    code: str
    settings: Frozen


class Choice(Frozen):
    """A name with settings beside it; those of the user's own are fields of a derived class."""

    own: ClassVar[Mapping[str, OwnCode]] = {}
    """The user's own, by name."""

    def chosen(self) -> Chosen | None:
        """Return what is taken of the user's own, None for one of this project's."""
        part = self.own.get(self.name)  # type: ignore[attr-defined]
        if part is None:
            return None
        given = self.model_dump(mode="json", include=set(part.settings.model_fields))
        given = {name: value for name, value in given.items() if value is not None}
        return Chosen(part.code, validated(part.settings, given))

    def check_settings(self, what: str, takes: Sequence[str]) -> None:
        """Raise ValueError where settings of the user's own are not those of what is named.

        Args:
            what: what is chosen.
            takes: settings of this project's own, under the name that is given.
        """
        name = self.name  # type: ignore[attr-defined]
        part = self.own.get(name)
        takes = takes if part is None else tuple(part.settings.model_fields)
        for option in type(self).model_fields:
            if option != "name" and getattr(self, option) is not None and option not in takes:
                raise ValueError(
                    f"{what} '{name}' has no option '{option}'; its options: "
                    f"{', '.join(takes) or 'none'}. Leave {option} out, or name another {what}"
                )
        try:
            self.chosen()
        except ValidationError as error:
            item = error.errors()[0]
            where = ".".join(map(str, item["loc"]))
            raise ValueError(f"{what} '{name}': {where}: {item['msg']}") from None
