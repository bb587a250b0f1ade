"""What is added up over all units of a file: number, extent in space and time, measurements."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.transform.bioschemas.rules import Json, Record, number


class Extremes:
    """The least and the greatest number seen, each as the source first wrote it."""

    def __init__(self) -> None:
        self.least: tuple[float, str] | None = None
        self.greatest: tuple[float, str] | None = None

    def add(self, text: str) -> None:
        """Takes one text; one that is no number is passed over."""
        value = number(text)
        if value is None:
            return
        if self.least is None or value < self.least[0]:
            self.least = (value, text)
        if self.greatest is None or value > self.greatest[0]:
            self.greatest = (value, text)


class Count:
    """The number of units, as a ``QuantitativeValue``."""

    def __init__(self) -> None:
        self.units = 0

    def add(self) -> None:
        """Takes one unit."""
        self.units += 1

    def items(self) -> Iterator[Json]:
        """How many there were."""
        yield {"@type": "QuantitativeValue", "value": self.units, "unitText": "records"}


class Period:
    """The first and the last date, compared as text."""

    def __init__(self) -> None:
        self.earliest = ""
        self.latest = ""

    def add(self, dates: list[str]) -> None:
        """Takes the dates of one unit."""
        for date in dates:
            if not self.earliest or date < self.earliest:
                self.earliest = date
            if date > self.latest:
                self.latest = date

    def items(self) -> Iterator[Json]:
        """``first/last``, or the only date."""
        if self.earliest:
            same = self.earliest == self.latest
            yield self.earliest if same else f"{self.earliest}/{self.latest}"


class Extent:
    """The place of all units with coordinates: a point if they agree, else a box."""

    def __init__(self) -> None:
        self.latitude = Extremes()
        self.longitude = Extremes()

    def add(self, coordinates: list[Record]) -> None:
        """Takes the coordinates of one unit."""
        for record in coordinates:
            for text in record.get("LatitudeDecimal", ()):
                self.latitude.add(text)
            for text in record.get("LongitudeDecimal", ()):
                self.longitude.add(text)

    def items(self) -> Iterator[Json]:
        """A ``Place``; its box has the numbers as the source writes them."""
        south, north = self.latitude.least, self.latitude.greatest
        west, east = self.longitude.least, self.longitude.greatest
        if not (south and north and west and east):
            return
        if south == north and west == east:
            point = {"latitude": south[0], "longitude": west[0]}
            yield {"@type": "Place", "geo": {"@type": "GeoCoordinates", **point}}
        else:
            box = f"{south[1]} {west[1]} {north[1]} {east[1]}"
            yield {"@type": "Place", "geo": {"@type": "GeoShape", "box": box}}


class Measured:
    """The range of a measurement in metres; only values in metres, or without a unit, count."""

    def __init__(self, name: str, property_id: str) -> None:
        self.description = {"name": name, "propertyID": property_id, "unitText": "m"}
        self.values = Extremes()
        self.present = False

    def add(self, elements: list[bool], facts: list[Record]) -> None:
        """Takes the measurements of one unit."""
        self.present = self.present or bool(elements)
        for fact in facts:
            unit = fact.get("UnitOfMeasurement")
            if not unit or "m" in unit:
                for text in (*fact.get("LowerValue", ()), *fact.get("UpperValue", ())):
                    self.values.add(text)

    def items(self) -> Iterator[Json]:
        """A ``PropertyValue``, if any unit has the measurement."""
        if self.present:
            yield {"@type": "PropertyValue", **self.description, **self._range()}

    def _range(self) -> dict[str, Json]:
        least, greatest = self.values.least, self.values.greatest
        if least is None or greatest is None:
            return {}
        if least == greatest:
            return {"value": least[0]}
        return {"minValue": least[0], "maxValue": greatest[0]}


def elevation() -> Measured:
    """The altitudes of the gathering sites."""
    return Measured("Elevation", "https://schema.org/elevation")


def depth() -> Measured:
    """The depths of the gathering sites."""
    return Measured("Depth", "https://schema.org/depth")
