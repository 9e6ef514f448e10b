"""A square of a photograph from a reduced copy of it: the photograph's own pixels are never made.

The reduced copy is put back on the photograph's pixels by cubic interpolation, and those are averaged over the areas of
the pixels wanted. Both are linear and go along one axis at a time, so each axis is one product with a narrow matrix.
"""

import cv2
import numpy as np

TAPS = 4  # pixels of the reduced copy that cubic interpolation looks at, along one axis
SHARPNESS = -0.75  # of the cubic, as OpenCV has it
AT_ONCE = 16  # rows or columns of the answer: the matrices are narrow, so few of these need few of the photograph's


def averaged(
    reduced: np.ndarray, times: int, shape: tuple[int, int], corner: tuple[int, int], side: int, size: int
) -> np.ndarray:
    """The square, averaged over areas.

    Args:
        reduced: (h, w, C) uint8; each pixel stands for `times` × `times` of the photograph's, from its top left corner
            on.
        shape: (H, W) of the photograph.
        corner: row and column of the photograph where the square begins; it may reach beyond the photograph's edges.
        side: of the square, pixels of the photograph, at least `size`.
        size: pixels of a side of the answer.
    Returns:
        (size, size, C) float32, grey levels; 0 beyond the photograph's edges.
    """
    (down, top), (across, left) = (
        _weights(start, side, size, times, whole, few)
        for start, whole, few in zip(corner, shape, reduced.shape[:2], strict=True)
    )
    part = reduced[top : top + down.shape[1], left : left + across.shape[1]]
    _, width, channels = part.shape
    if not part.size:
        return np.zeros((size, size, channels), np.float32)
    rows = np.empty((size, width * channels), np.float32)
    for band in _bands(size):
        weights, used = _narrowed(down[band])
        np.matmul(weights, part[used].astype(np.float32).reshape(-1, width * channels), out=rows[band])
    planes = np.concatenate(cv2.split(rows.reshape(size, width, channels)))
    answer = np.empty((channels * size, size), np.float32)
    for band in _bands(size):
        weights, used = _narrowed(across[band])
        np.matmul(planes[:, used], weights.T, out=answer[:, band])
    pixels: np.ndarray = cv2.merge(list(answer.reshape(channels, size, size))).reshape(size, size, channels)
    return pixels


def _bands(size: int) -> list[slice]:
    return [slice(first, min(first + AT_ONCE, size)) for first in range(0, size, AT_ONCE)]


def _weights(start: int, side: int, size: int, times: int, whole: int, few: int) -> tuple[np.ndarray, int]:
    """(size, n) float32: how much n pixels of the reduced copy count in each pixel of the answer; and the first of n.

    Args:
        start: of the square on this axis; whole: pixels of the photograph; few: pixels of the reduced copy.
    """
    pixels = np.arange(max(start, 0), min(start + side, whole))
    if not pixels.size:
        return np.zeros((size, 0), np.float32), 0
    taps, cubic = _cubic(pixels, times, few)
    first, last = int(taps.min()), int(taps.max())
    # a pixel of the photograph lies in one pixel of the answer, or in two
    scale = side / size
    here = np.minimum(((pixels - start) / scale).astype(np.intp), size - 1)
    beyond = np.maximum(0.0, (pixels + 1 - start) / scale - (here + 1))
    shares = ((here, 1 / scale - beyond), (np.minimum(here + 1, size - 1), beyond))
    width = last - first + 1
    places = [(target[:, None] * width + taps - first).ravel() for target, _ in shares]
    values = [(share[:, None] * cubic).ravel() for _, share in shares]
    summed = np.bincount(np.concatenate(places), np.concatenate(values), minlength=size * width)
    return summed.reshape(size, width).astype(np.float32), first


def _cubic(pixels: np.ndarray, times: int, few: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the photograph the reduced ones that it comes from, (N, TAPS), and their weights, (N, TAPS)."""
    phases = (np.arange(times) + 0.5) / times - 0.5  # from the middle of the large pixel that each one lies in
    near = phases % 1  # from the middle of the large pixel before it
    table = np.empty((times, TAPS))
    table[:, 0], table[:, 1], table[:, 2] = _outer(1 + near), _inner(near), _inner(1 - near)
    table[:, 3] = 1 - table[:, :3].sum(axis=1)
    large, phase = np.divmod(pixels, times)
    nearest = large - (phases < 0)[phase]
    taps = nearest[:, None] + np.arange(-1, TAPS - 1)
    return np.clip(taps, 0, few - 1), table[phase]


def _inner(distance: np.ndarray) -> np.ndarray:
    return np.asarray(((SHARPNESS + 2) * distance - (SHARPNESS + 3)) * distance**2 + 1)


def _outer(distance: np.ndarray) -> np.ndarray:
    return np.asarray(SHARPNESS * (((distance - 5) * distance + 8) * distance - 4))


def _narrowed(weights: np.ndarray) -> tuple[np.ndarray, slice]:
    """The columns between the first and the last that are not 0 throughout, and which they are."""
    used = np.flatnonzero(weights.any(axis=0))
    columns = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
    return weights[:, columns], columns
