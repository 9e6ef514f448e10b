"""Disc and cup of examples/normal_left_eye.jpg, read off the picture by eye; no network had a say in it.

How: the disc's surroundings were enlarged four to eight times with a ruled grid of the photograph's own rows and
columns, and looked at in colour, contrast-stretched, and in the red, green and blue channel alone. Rows and columns are
whole pixels of the photograph as it is, counted from 0 at the top left; first and last are both inside.

Disc: where its colour ends. Top beside the central artery (columns 240 to 265; red-free), bottom left of the small
lower vessel (columns 205 to 225; colour and red). The pigment and the pale crescent on the temporal side are outside.
Sharp to 4 pixels at top, bottom and right; the nasal (left) edge fades over 10.

Cup: the pale, deep centre. It has no sharp edge, so the middle of the slope was taken: the pallor falls off between
rows 604 and 618 above and between rows 691 and 706 below. Two small arteries bend at its temporal edge, at (column 269,
row 628) and (268, 694), and agree with that. Nasally the vessel trunk covers the edge. Uncertain by 7 pixels at top and
bottom and by 10 left and right; so the vertical ratio may lie between 0.36 and 0.50.
"""

DISC_ROWS = (551, 754)
DISC_COLUMNS = (125, 308)
CUP_ROWS = (611, 698)
CUP_COLUMNS = (204, 270)


def extent(first_and_last: tuple[int, int]) -> int:
    """Pixels from the first to the last, both counted."""
    first, last = first_and_last
    return last - first + 1


VERTICAL_RATIO = extent(CUP_ROWS) / extent(DISC_ROWS)  # 0.43
