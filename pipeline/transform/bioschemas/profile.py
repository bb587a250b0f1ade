"""Which members of the Bioschemas profile Dataset a result has and which its source lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.transform.bioschemas import mapping

# Bioschemas Dataset 1.0-RELEASE, 12 July 2022: minimum and recommended properties.
REQUIRED = ("description", "identifier", "keywords", "license", "name", "url")
RECOMMENDED = (
    "alternateName",
    "citation",
    "creator",
    "datePublished",
    "distribution",
    "includedInDataCatalog",
    "isBasedOn",
    "measurementTechnique",
    "publisher",
    "variableMeasured",
    "version",
)


@dataclass(frozen=True)
class Lack:
    """A member that is missing, and the paths of ABCD that would have given it."""

    member: str
    required: bool
    paths: tuple[str, ...]

    def __str__(self) -> str:
        need = "required" if self.required else "recommended"
        paths = ", ".join(self.paths) if self.paths else "ABCD has no element for it"
        return f"{need}: {self.member} ({paths})"


def lacks(result: Iterator[bytes]) -> list[Lack]:
    """What the JSON-LD document ``result`` lacks of the profile, required members first."""
    present = members(result)
    return [
        Lack(member, member in REQUIRED, paths_of(member))
        for member in REQUIRED + RECOMMENDED
        if member not in present
    ]


def members(result: Iterator[bytes]) -> set[str]:
    """The names of the members of the JSON object ``result``, which is read as a stream."""
    # Imported here: only a check needs it.
    import ijson

    events = ijson.parse(ijson.from_iter(result))
    return {name for prefix, event, name in events if event == "map_key" and not prefix}


def paths_of(member: str) -> tuple[str, ...]:
    """The paths of the mapping that become ``member``, from the data set on."""
    of_dataset = [key for row in mapping.DATASET if row.becomes == member for key in row.keys]
    rows = (*mapping.UNIT, *mapping.UNITS_OWN, *mapping.OVER_ALL_UNITS)
    of_units = [f"Units/Unit/{row.keys[0]}" for row in rows if row.becomes == member]
    return (*of_dataset, *of_units)
