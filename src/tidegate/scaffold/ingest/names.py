"""Names: CF standard names that fit a title and a unit, names of variables, long names."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from tidegate.scaffold.ingest import units

_TABLE = ("compliance_checker", "data/cf-standard-name-table.xml")

ABBREVIATIONS = {
    "airt": "air temperature",
    "airtc": "air temperature",
    "airtemp": "air temperature",
    "atmp": "air temperature",
    "tair": "air temperature",
    "ta": "air temperature",
    "temp": "temperature",
    "tmp": "temperature",
    "rh": "relative humidity",
    "relhum": "relative humidity",
    "hum": "humidity",
    "humid": "humidity",
    "rel": "relative",
    "ws": "wind speed",
    "wspd": "wind speed",
    "windspd": "wind speed",
    "windspeed": "wind speed",
    "spd": "speed",
    "wd": "wind from direction",
    "wdir": "wind from direction",
    "winddir": "wind from direction",
    "dir": "direction",
    "gust": "wind speed of gust",
    "bp": "air pressure",
    "baro": "air pressure",
    "barometer": "air pressure",
    "barometric": "air",
    "atmospheric": "air",
    "abs": "absolute",
    "press": "pressure",
    "pres": "pressure",
    "dewpoint": "dew point temperature",
    "dewpt": "dew point temperature",
    "dewp": "dew point temperature",
    "wtmp": "sea water temperature",
    "sst": "sea surface temperature",
    "water": "sea water",
    "sal": "salinity",
    "cond": "conductivity",
    "chl": "chlorophyll",
    "chla": "chlorophyll",
    "turb": "turbidity",
    "lat": "latitude",
    "lon": "longitude",
    "long": "longitude",
    "alt": "altitude",
    "batt": "battery",
    "battv": "battery voltage",
    "volt": "voltage",
    "slrw": "surface downwelling shortwave flux in air",
    "swin": "surface downwelling shortwave flux in air",
    "ghi": "surface downwelling shortwave flux in air",
    "lwin": "surface downwelling longwave flux in air",
    "hsig": "sea surface wave significant height",
    "hm0": "sea surface wave significant height",
    "hs": "sea surface wave significant height",
    "wvht": "sea surface wave significant height",
    "meandirection": "mean direction",
    "peakdirection": "peak direction",
    "meanperiod": "mean period",
    "peakperiod": "peak period",
    "meanspread": "mean spread",
    "peakspread": "peak spread",
    "ext": "external",
    "int": "internal",
    "rad": "radiation",
    "sol": "solar",
    "precip": "precipitation",
    "avail": "availability",
}
"""What instruments call things, in lower case; the CF table has the whole names only."""

PHRASES = {
    "temperature": "air temperature",
    "outside temperature": "air temperature",
    "external temperature": "air temperature",
    "pressure": "air pressure",
    "absolute pressure": "air pressure",
    "humidity": "relative humidity",
    "wind direction": "wind from direction",
    "wind gust": "wind speed of gust",
    "solar radiation": "surface downwelling shortwave flux in air",
    "water temperature": "sea water temperature",
    "salinity": "sea water practical salinity",
    "conductivity": "sea water electrical conductivity",
    "z wind": "upward air velocity",
    "vertical wind": "upward air velocity",
    "rain": "rainfall amount",
    "dew point": "dew point temperature",
    "battery": "battery voltage",
}
"""Names in general use, and the CF name that they most often mean: always marked as a guess."""

_STATISTICS = {
    "avg": "mean",
    "mean": "mean",
    "min": "minimum",
    "max": "maximum",
    "std": "standard_deviation",
    "sd": "standard_deviation",
    "stdev": "standard_deviation",
    "tot": "sum",
    "sum": "sum",
    "dispersion": "standard_deviation",
    "med": "median",
}
_NOISE = {"wvt", "wvc", "smp", "d1", "lgr", "sen"}
"""Words of logger programs that say nothing about the quantity."""
_SHORT = {"standard_deviation": "std", "minimum": "min", "maximum": "max", "sum": "total"}
_HEIGHT = re.compile(r"^(\d+(?:\.\d+)?)\s?m$")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+(?:\.\d+)?m?")


@dataclass(frozen=True)
class Named:
    """What a column is called in the product."""

    name: str
    """The variable's name."""
    long_name: str
    """Its long name."""
    standard_name: str = ""
    """Its CF standard name; empty where none fits."""
    cell_methods: str = ""
    """Such as ``time: mean``, where the title names a statistic."""
    reason: str = ""
    """Why this standard name."""


def describe(title: str, unit: str) -> Named:
    """Names for a column, from its title and its unit as CF spells it (empty: unknown)."""
    words, method, height = _read_title(title, unit)
    phrase = " ".join(words)
    standard, reason = _standard_name(phrase, unit)
    long_name = (phrase or title).strip()
    long_name = long_name[:1].upper() + long_name[1:]
    name = standard or snake(phrase) or snake(title) or "variable"
    if method and method != "mean":
        name += f"_{_SHORT.get(method, method)}"
        long_name += f", {method.replace('_', ' ')}"
    if height:
        name += f"_{height.replace('.', '_')}m"
        long_name += f" at {height} m"
    if name[0].isdigit():
        name = f"v{name}"
    cell_methods = f"time: {method}" if method else ""
    return Named(name, long_name, standard, cell_methods, reason)


def title_words(title: str) -> list[str]:
    """The words of a title, in lower case: ``AirTC_Avg`` gives ``airtc``, ``avg``."""
    found: list[str] = []
    for part in re.split(r"[^A-Za-z0-9.]+", title):
        if not part:
            continue
        lower = part.lower()
        known = lower in ABBREVIATIONS or lower in _STATISTICS or lower in _NOISE
        found += [lower] if known else [word.lower() for word in _WORDS.findall(part)]
    return found


def _read_title(title: str, unit: str) -> tuple[list[str], str, str]:
    """Whole words, the statistic that the title names, and a height or depth in it (m)."""
    method = height = ""
    words: list[str] = []
    found = [word for word in title_words(title) if word not in _NOISE]
    for index, word in enumerate(found):
        if index and units.same(word, unit):
            continue  # BP_mbar_Avg: the unit is said elsewhere
        if word in _STATISTICS and not method:
            method = _STATISTICS[word]
        elif match := _HEIGHT.match(word):
            height = match[1]
        else:
            words += ABBREVIATIONS.get(word, word).split()
    return words, method, height


def _standard_name(phrase: str, unit: str) -> tuple[str, str]:
    """The CF standard name for a phrase; only one that goes with the unit."""
    table = standard_names()
    exact = phrase.replace(" ", "_")
    if exact in table and _fits(unit, table[exact]):
        why = f"the CF standard name with these words; its units fit {unit}" if unit else _NO_UNIT
        return exact, why
    usual = PHRASES.get(phrase, "").replace(" ", "_")
    if usual in table and unit and _fits(unit, table[usual]):
        return usual, f"what {phrase!r} in {unit} most often is"
    return "", ""


_NO_UNIT = "the CF standard name with these words; the file names no unit to compare with"


def _fits(unit: str, canonical: str) -> bool:
    return not unit or units.convertible(unit, canonical)


@lru_cache(maxsize=1)
def standard_names() -> Mapping[str, str]:
    """The CF standard name table: each name with its canonical units."""
    package, path = _TABLE
    root = ElementTree.fromstring(resources.files(package).joinpath(path).read_bytes())
    return {
        entry.attrib["id"]: entry.findtext("canonical_units") or "1" for entry in root.iter("entry")
    }


def snake(text: str) -> str:
    """A text as a name: lower case, with underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
