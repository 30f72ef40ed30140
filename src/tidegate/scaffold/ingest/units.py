"""Units: out of a title, from the spelling of an instrument to that of CF (UDUNITS)."""

from __future__ import annotations

import re
from functools import lru_cache

import cf_units

SPELLINGS = {
    # Where UDUNITS does not know the spelling, or takes it for another unit (C is coulomb, mb
    # millibarn, F farad, mph a phot, h hour and H henry).
    "c": "degC",
    "deg c": "degC",
    "deg. c": "degC",
    "deg_c": "degC",
    "degrees c": "degC",
    "degree c": "degC",
    "degrees celsius": "degC",
    "celsius": "degC",
    "°c": "degC",
    "ºc": "degC",
    "oc": "degC",
    "f": "degF",
    "deg f": "degF",
    "deg_f": "degF",
    "degrees f": "degF",
    "°f": "degF",
    "k": "K",
    "deg": "degree",
    "deg.": "degree",
    "degs": "degree",
    "degrees": "degree",
    "°": "degree",
    "º": "degree",
    "deg true": "degree",
    "deg_true": "degree",
    "degt": "degree",
    "degn": "degree",
    "mb": "mbar",
    "mbars": "mbar",
    "millibars": "mbar",
    "inhg": "inHg",
    "in hg": "inHg",
    "mph": "mile hour-1",
    "miles/hour": "mile hour-1",
    "mps": "m s-1",
    "m/sec": "m s-1",
    "meters/second": "m s-1",
    "metres/second": "m s-1",
    "meters/sec": "m s-1",
    "km/h": "km h-1",
    "kph": "km h-1",
    "kts": "knot",
    "kt": "knot",
    "kn": "knot",
    "watts/meter^2": "W m-2",
    "watts/m2": "W m-2",
    "w/m2": "W m-2",
    "umol/s/m^2": "umol m-2 s-1",
    "µmol/m²/s": "umol m-2 s-1",
    "percent": "%",
    "pct": "%",
    "%rh": "%",
    "rh%": "%",
    "volts": "V",
    "volt": "V",
    "mv": "mV",
    "inches": "inch",
    "in": "inch",
    "meters": "m",
    "metres": "m",
    "meter": "m",
    "sec": "s",
    "secs": "s",
    "seconds": "s",
    "unitless": "1",
    "none": "1",
    "dimensionless": "1",
    "psu": "1",
    "us/cm": "uS cm-1",
    "µs/cm": "uS cm-1",
    "ms/cm": "mS cm-1",
    "db": "dB",
    "dbz": "dBZ",
    "ntu": "NTU",
    "dbar": "dbar",
    "counts": "count",
    "rn": "1",
}
"""Spellings of instruments, in lower case, and what CF calls the unit."""
_ASCII = str.maketrans("µμ²³·", "uu23 ")
_ACCEPTED = ("dB", "dBZ", "NTU", "count")
"""Units in use that UDUNITS has no definition for, or that mean no physical unit."""
_CASED = {"MS/cm": "MS cm-1", "mS": "mS", "MV": "MV", "H": "H", "K": "K"}
_SLASH = re.compile(r"[A-Za-z%µ°]+([\^*]?-?\d)?([/ .·][A-Za-z%µ]+([\^*]?-?\d)?)+")
_IN_TITLE = (
    re.compile(r"^(?P<title>.*?)\s*\[(?P<unit>[^\]]*)\]\s*$"),
    re.compile(r"^(?P<title>.*?)\s*\((?P<unit>[^()]*)\)\s*$"),
    # HOBO loggers: Temp, °C (LGR S/N: 20101234, SEN S/N: 20101234)
    re.compile(r"^(?P<title>[^,(]+),\s*(?P<unit>[^,(]+?)\s*(\(.*\))?$"),
)
_LAST_WORD = re.compile(r"^(?P<title>.+)_(?P<unit>[A-Za-z0-9%]+)$")
_SUFFIXES = {
    *(
        "degC",
        "degF",
        "degK",
        "hPa",
        "kPa",
        "mbar",
        "mps",
        "Wm2",
        "mm",
        "cm",
        "deg",
        "pct",
        "volts",
    ),
    *("ms", "kmh", "ppm", "ppb", "dbar", "mV", "Pa"),
}
_SUFFIX_UNITS = {"ms": "m s-1", "Wm2": "W m-2", "kmh": "km h-1", "mps": "m s-1", "degK": "K"}


def normalize(spelled: str) -> str | None:
    """The unit as CF spells it; None for a text that is not a unit.

    Powers are written without signs, such as ``W m-2``, for UDUNITS and Tsdat alike.
    """
    plain = " ".join(spelled.strip().split())
    if not plain:
        return None
    if plain in _CASED:
        return _CASED[plain]
    known = SPELLINGS.get(plain.lower().replace("μ", "µ"))
    if known is not None:
        return known
    if plain in _ACCEPTED:
        return plain
    ascii_only = plain.translate(_ASCII)
    written = _powers(ascii_only)
    return written if written and written.isascii() and _defined(written) else None


def is_unit(text: str) -> bool:
    """Whether a text is a unit: used to tell a line of units from a line of titles."""
    return normalize(text) is not None


def misread(spelled: str, unit: str) -> bool:
    """Whether UDUNITS would take a spelling for another unit, so that the choice is a guess."""
    plain = spelled.strip()
    return _defined(plain) and cf_units.Unit(plain) != cf_units.Unit(unit)


def same(word: str, unit: str) -> bool:
    """Whether a word in a title is a unit, in any case of letters."""
    short = {suffix.lower(): _SUFFIX_UNITS.get(suffix, suffix) for suffix in _SUFFIXES}
    written = short.get(word.lower())
    known = normalize(written) if written else None
    return bool(known and unit) and (known == unit or convertible(str(known), unit))


def convertible(unit: str, canonical: str) -> bool:
    """Whether values in a unit can be converted to a canonical unit of the CF table."""
    if unit in _ACCEPTED or not _defined(unit) or not _defined(canonical):
        return False
    return bool(cf_units.Unit(unit).is_convertible(cf_units.Unit(canonical)))


def split_title(title: str) -> tuple[str, str, str]:
    """A title without its unit, the unit as it is spelled, and how it was found.

    Both texts are empty where the title names no unit.
    """
    for pattern in _IN_TITLE:
        match = pattern.match(title.strip())
        if match and match["title"] and is_unit(match["unit"]):
            return match["title"].strip(), match["unit"].strip(), "in the title"
    match = _LAST_WORD.match(title.strip())
    if match and match["unit"] in _SUFFIXES:
        unit = _SUFFIX_UNITS.get(match["unit"], match["unit"])
        return match["title"], unit, "the title's last word"
    return title.strip(), "", ""


def _powers(unit: str) -> str:
    """``W/m^2`` as ``W m-2``."""
    if "/" not in unit:
        return re.sub(r"\^|\*\*", "", unit)
    first, *others = unit.split("/")
    words = [re.sub(r"\^|\*\*", "", first.strip())]
    for other in others:
        for word in other.replace("*", " ").replace(".", " ").split():
            match = re.fullmatch(r"([A-Za-z%]+)\^?(\d+)?", word)
            if match is None:
                return ""
            words.append(f"{match[1]}-{match[2] or 1}")
    return " ".join(words) if words[0] not in ("", "1") else " ".join(words[1:])


@lru_cache(maxsize=4096)
def _defined(unit: str) -> bool:
    try:
        cf_units.Unit(unit)
    except ValueError:
        return False
    return True
