"""Reads a WindCube lidar's ten-minute statistics (`*.sta.7z`).

Despite its name the file is not a 7-Zip archive but a bare LZMA stream. The text in it (cp1252) is

    HeaderSize=40           so many lines of key=value follow
    ...
    Altitudes (m)=  40 60   the heights, tab-separated
    ...                     then one line of titles and one line an interval, tab-separated:
    Timestamp (end of interval) | Int Temp (°C) | ... | 40m Wind Speed (m/s) | ...
"""

# No `from __future__ import annotations` in modules with Tsdat classes: pydantic 1, which Tsdat
# before 0.10 uses, cannot look up the annotation of a nested class.

import csv
import io
import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import BaseModel
from tsdat import DataReader

TIME = "Timestamp (end of interval)"

# The columns we take, as titled in the file, and the names that retriever.yaml knows them by:
# Tsdat allows only ASCII in attributes, and the file's degree signs are not.
BY_TIME = {
    "Int Temp (°C)": "Int Temp",
    "Ext Temp (°C)": "Ext Temp",
    "Pressure (hPa)": "Pressure",
    "Rel Humidity (%)": "Rel Humidity",
}
BY_HEIGHT = {
    "Wind Speed (m/s)": "Wind Speed",
    "Wind Speed Dispersion (m/s)": "Wind Speed Dispersion",
    "Wind Speed min (m/s)": "Wind Speed min",
    "Wind Speed max (m/s)": "Wind Speed max",
    "Wind Direction (°)": "Wind Direction",
    "Z-wind (m/s)": "Z-wind",
    "Z-wind Dispersion (m/s)": "Z-wind Dispersion",
    "CNR (dB)": "CNR",
    "CNR min (dB)": "CNR min",
    "Dopp Spect Broad (m/s)": "Dopp Spect Broad",
    "Data Availability (%)": "Data Availability",
}

CHUNK = 64 * 1024
DECODER_MEMORY = 128 * 2**20
"""Most memory for the decoder (bytes). The instrument's dictionary is 8 MiB; noise that happens to
look like an LZMA header may ask for 4 GiB."""


class RawFileError(ValueError):
    """The file is not what the instrument writes; the message says in what way."""


class WindcubeReader(DataReader):
    """Reads one file into a dataset by time and height, with names like the file's titles."""

    class Parameters(BaseModel, extra="forbid"):
        """Set in retriever.yaml."""

        max_bytes: int = 64 * 2**20
        """Longest text to unpack (bytes). A day is 110 kB; a file of a few kB can unpack to
        gigabytes."""

    parameters: Parameters = Parameters()

    def read(self, input_key: str) -> xr.Dataset:
        """Read a file; `input_key` is its path."""
        path = Path(input_key)
        try:
            return parse(unpack(path, self.parameters.max_bytes))
        except RawFileError as error:
            raise RawFileError(f"{path.name}: {error}") from error


def unpack(path: Path, max_bytes: int) -> bytes:
    """Unpack an LZMA stream piece by piece, and give up beyond `max_bytes`."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=DECODER_MEMORY)
    unpacked = bytearray()
    with path.open("rb") as packed:
        while not decoder.eof:
            block = packed.read(CHUNK) if decoder.needs_input else b""
            if decoder.needs_input and not block:
                if packed.tell() == 0:
                    raise RawFileError("the file is empty")
                raise RawFileError(
                    f"the file is cut off: its LZMA stream has no end after {packed.tell()} bytes"
                )
            try:
                unpacked += decoder.decompress(block, max_length=CHUNK)
            except lzma.LZMAError as error:
                raise RawFileError(f"not an LZMA stream, or a damaged one ({error})") from error
            if len(unpacked) > max_bytes:
                raise RawFileError(
                    f"unpacks to more than {max_bytes} bytes, which no such file should"
                )
    return bytes(unpacked)


def parse(data: bytes) -> xr.Dataset:
    """Turn the text of a file into a dataset."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise RawFileError(f"not a text in cp1252 ({error})") from error
    # Not splitlines(), which also splits at characters that are no line ends here.
    lines = [line.rstrip("\r") for line in text.split("\n")]
    header = Header.parse(lines)
    titles = lines[header.size + 1].split("\t") if len(lines) > header.size + 1 else []
    columns = _find_columns(titles, header.heights)
    rows = [line for line in lines[header.size + 2 :] if line.strip()]
    frame = _parse_rows(rows, len(titles), columns)

    data_vars = {
        name: ("time", frame[columns[title]].to_numpy()) for title, name in BY_TIME.items()
    }
    for title, name in BY_HEIGHT.items():
        profile = [columns[f"{height}m {title}"] for height in header.heights]
        data_vars[name] = (("time", "height"), frame[profile].to_numpy())
    heights = np.array([float(height) for height in header.heights])
    return xr.Dataset(
        data_vars,
        coords={"time": _parse_times(frame[columns[TIME]]), "height": heights},
        attrs=header.attrs,
    )


@dataclass(frozen=True)
class Header:
    """What we need of the header."""

    size: int
    """Lines between the first line and the titles."""
    heights: list[str]
    """The heights (m), as written: the titles repeat them letter by letter."""
    attrs: dict[str, str]
    """What is worth keeping in the product."""

    @classmethod
    def parse(cls, lines: list[str]) -> "Header":
        """Read the header at the top of the file."""
        key, _, size = lines[0].partition("=")
        if key != "HeaderSize" or not size.isdigit():
            raise RawFileError(
                f"no header: expected HeaderSize=<lines> first, found {lines[0][:40]!r}"
            )
        pairs = (line.partition("=") for line in lines[1 : int(size) + 1])
        values = {key: value.strip() for key, _, value in pairs}
        if values.get("timezone", "UTC+0") != "UTC+0":
            raise RawFileError(f"times are in {values['timezone']}; only UTC+0 is supported")
        heights = values.get("Altitudes (m)", "").split()
        try:
            increasing = heights and (np.diff([float(height) for height in heights]) > 0).all()
        except ValueError:
            increasing = False
        if not increasing:
            raise RawFileError(
                f"'Altitudes (m)' in the header is not a row of increasing heights: {heights}"
            )
        attrs = {
            "instrument_serial_number": values.get("ID System", "unknown"),
            "instrument_software_version": values.get("Version", "unknown"),
        }
        return cls(int(size), heights, attrs)


def _find_columns(titles: list[str], heights: list[str]) -> dict[str, int]:
    """Find each column that we take by its title; others may come and go."""
    wanted = [TIME, *BY_TIME, *(f"{height}m {title}" for height in heights for title in BY_HEIGHT)]
    missing = [title for title in wanted if title not in titles]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise RawFileError(
            f"wrong columns: of {len(wanted)}, these are not there: {', '.join(missing[:3])}{more}"
        )
    return {title: titles.index(title) for title in wanted}


def _parse_rows(rows: list[str], width: int, columns: dict[str, int]) -> pd.DataFrame:
    """Read the rows; all columns but the time as numbers."""
    if not rows:
        raise RawFileError("no data rows")
    for number, row in enumerate(rows, start=1):
        if (found := row.count("\t") + 1) != width:
            raise RawFileError(f"data row {number} has {found} columns instead of {width}")
    wanted = list(columns.values())
    try:
        return pd.read_csv(
            io.StringIO("\n".join(rows)),
            sep="\t",
            header=None,
            usecols=wanted,
            dtype={column: str if column == columns[TIME] else float for column in wanted},
            quoting=csv.QUOTE_NONE,
        )
    except ValueError as error:
        raise RawFileError(f"a value is not a number ({error})") from error


def _parse_times(column: pd.Series) -> np.ndarray:
    """Read times such as 2020/12/01 00:10, which are UTC."""
    try:
        times = pd.to_datetime(column, format="%Y/%m/%d %H:%M")
    except ValueError as error:
        raise RawFileError(f"a time is not like 2020/12/01 00:10 ({error})") from error
    if times.isna().any():
        raise RawFileError("a time is missing")
    return times.to_numpy().astype("datetime64[ns]")
