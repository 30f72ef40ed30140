"""The arithmetic of wind profiles. Arrays are (time, height) or of matching shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def components(speed: ArrayLike, direction: ArrayLike) -> tuple[Floats, Floats]:
    """Give eastward and northward wind for a speed and the direction it comes from (degrees)."""
    angle = np.deg2rad(np.asarray(direction, dtype=float))
    speed = np.asarray(speed, dtype=float)
    return -speed * np.sin(angle), -speed * np.cos(angle)


def direction(eastward: ArrayLike, northward: ArrayLike) -> Floats:
    """Give the direction that the wind comes from (degrees, 0 to 360) for its components."""
    toward = np.rad2deg(np.arctan2(eastward, northward))
    result: Floats = np.asarray((toward + 180.0) % 360.0, dtype=float)
    return result


def bracket(heights: ArrayLike, target: float) -> tuple[int, int]:
    """Give the indices of the heights at or just below and above a target height (m)."""
    heights = np.asarray(heights, dtype=float)
    if not heights[0] <= target <= heights[-1]:
        raise ValueError(
            f"{target:g} m is not within the measured heights, {heights[0]:g} to {heights[-1]:g} m"
        )
    above = int(np.searchsorted(heights, target))
    return (above, above) if heights[above] == target else (above - 1, above)


def at_height(profile: ArrayLike, heights: ArrayLike, target: float) -> Floats:
    """Interpolate a profile to a height, linearly in the logarithm of height.

    On the logarithm of wind speed this is the power law between the two neighbouring heights.
    """
    profile = np.asarray(profile, dtype=float)
    heights = np.asarray(heights, dtype=float)
    low, high = bracket(heights, target)
    if low == high:
        return profile[:, low]
    weight = np.log(target / heights[low]) / np.log(heights[high] / heights[low])
    result: Floats = (1 - weight) * profile[:, low] + weight * profile[:, high]
    return result


def log_speed(speed: ArrayLike) -> Floats:
    """Take the logarithm of wind speeds; those that have none (calm) become NaN."""
    speed = np.asarray(speed, dtype=float)
    positive = speed > 0  # False for NaN, too
    return np.where(positive, np.log(np.where(positive, speed, 1.0)), np.nan)


def shear_exponent(speed: ArrayLike, heights: ArrayLike, at_least: int = 3) -> Floats:
    """Fit the power law, speed ~ height ** exponent, to each profile by least squares.

    Heights without a value are left out; NaN where fewer than `at_least` heights are left.
    """
    y = log_speed(speed)
    used = np.isfinite(y)
    count = used.sum(axis=1, keepdims=True)
    enough = count[:, 0] >= at_least
    share = used / np.maximum(count, 1)
    x = np.broadcast_to(np.log(np.asarray(heights, dtype=float)), y.shape)
    y = np.where(used, y, 0.0)
    dx = x - (x * share).sum(axis=1, keepdims=True)
    variance = (share * dx**2).sum(axis=1)
    slope = (share * dx * y).sum(axis=1) / np.where(enough, variance, 1.0)
    return np.where(enough, slope, np.nan)
