"""Small drawn data sets, each in the official layout and label encoding of a public one."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.drawn import draw_fundus

SIZE = (150, 170)  # of every drawn photograph, save for a stereo pair, which is twice as wide
REFUGE_COLOURS = (0, 0, 0, 0, 255, 0, 255, 0, 0)  # of a mask with a palette: background, rim, cup


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A photograph and its labels, of `SIZE`; the same ones for the same seed."""
    return draw_fundus(np.random.default_rng(seed), *SIZE, disc_share=0.3)


def write_rim_one_dl(folder: Path) -> list[str]:
    ids = []
    for part, group, identity, seed in (
        ("training_set", "normal", "r1_Im001", 0),
        ("training_set", "glaucoma", "r3_G-29-R_left_half", 1),
        ("test_set", "normal", "r2_Im007", 2),
    ):
        photograph, labels = draw(seed)
        _save(folder / "RIM-ONE_DL_images" / "partitioned_randomly" / part / group / f"{identity}.png", photograph)
        masks = folder / "RIM-ONE_DL_reference_segmentations" / group
        _save(masks / f"{identity}-1-Disc-T.png", np.where(labels > 0, 255, 0))
        _save(masks / f"{identity}-1-Cup-T.png", np.where(labels > 1, 255, 0))
        ids.append(identity)
    return ids


def write_rim_one_r3(folder: Path) -> list[str]:
    ids = []
    for group, identity, seed in (("Glaucoma and suspects", "G-1-L", 0), ("Healthy", "N-12-R", 1)):
        photograph, labels = draw(seed)
        blank = np.zeros_like(labels)
        _save(folder / group / "Stereo Images" / f"{identity}.jpg", np.hstack([photograph, photograph[::-1]]))
        for masks, name in (
            ("Average_masks", "{}-{}-Avg.png"),
            ("Expert1_masks", "{}-1-{}-exp1.png"),
            ("Expert2_masks", "{}-1-{}-exp2.png"),
        ):
            grown = cv2.dilate(labels, np.ones((3, 3))) if masks == "Expert2_masks" else labels
            for what, least in (("Disc", 1), ("Cup", 2)):
                mask = np.hstack([np.where(grown >= least, 255, 0), blank])
                _save(folder / group / masks / name.format(identity, what), mask)
        ids.append(identity)
    return ids


def write_drishti_gs1(folder: Path) -> list[str]:
    ids = []
    for part, group, truth, identity, seed in (
        ("Training", "GLAUCOMA", "GT", "drishtiGS_002", 0),
        ("Test", "normal", "Test_GT", "drishtiGS_001", 1),
    ):
        photograph, labels = draw(seed)
        _save(folder / part / "Images" / group / f"{identity}.png", photograph)
        for what, least in (("OD", 1), ("cup", 2)):
            inside = (labels >= least).astype(np.uint8)
            soft = np.zeros_like(inside)
            for level, steps in ((64, 2), (128, 0), (191, -2), (255, -4)):  # four experts, each inside the one before
                change = cv2.dilate if steps > 0 else cv2.erode
                soft[change(inside, np.ones((3, 3)), iterations=abs(steps)) > 0] = level
            _save(folder / part / truth / identity / "SoftMap" / f"{identity}_{what}segSoftmap.png", soft)
        ids.append(identity)
    return ids


def write_drions_db(folder: Path) -> list[str]:
    ids = []
    for number, seed in (("001", 0), ("110", 1)):
        photograph, labels = draw(seed)
        _save(folder / "images" / f"image_{number}.jpg", photograph)
        for expert in "12":
            lines = [f"{x:.4f} , {y:.4f}" for x, y in _contour(labels >= 1)]
            _write(folder / "experts_annotation" / f"anotExpert{expert}_{number}.txt", lines)
        ids.append(f"image_{number}")
    return ids


def write_refuge(folder: Path) -> list[str]:
    ids = []
    for images, masks, identity, seed in (
        ("Training400/Glaucoma", "Annotation-Training400/Disc_Cup_Masks/Glaucoma", "g0001", 0),
        ("Training400/Non-Glaucoma", "Annotation-Training400/Disc_Cup_Masks/Non-Glaucoma", "n0001", 1),
        ("REFUGE-Validation400", "REFUGE-Validation400-GT/Disc_Cup_Masks", "V0001", 2),
        ("REFUGE-Test400", "REFUGE-Test-GT/Disc_Cup_Masks/G", "T0001", 3),
    ):
        photograph, labels = draw(seed)
        _save(folder / images / f"{identity}.jpg", photograph)
        path = folder / masks / f"{identity}.bmp"
        if identity == "V0001":
            path.parent.mkdir(parents=True, exist_ok=True)
            mask = Image.fromarray(labels, "P")
            mask.putpalette(REFUGE_COLOURS)
            mask.save(path)
        else:
            _save(path, np.array([255, 128, 0])[labels])
        ids.append(identity)
    return ids


def write_origa(folder: Path) -> list[str]:
    for identity, seed in (("001", 0), ("650", 1)):
        photograph, labels = draw(seed)
        _save(folder / "Images" / f"{identity}.jpg", photograph)
        path = folder / "Semi-automatic-annotations" / f"{identity}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {"mask": labels, "filename": identity})
    return ["001", "650"]


def write_papila(folder: Path) -> list[str]:
    ids = ["RET002OD", "RET002OS"]
    for seed, identity in enumerate(ids):
        photograph, labels = draw(seed)
        _save(folder / "FundusImages" / f"{identity}.jpg", photograph)
        for expert in "12":
            for what, least in (("disc", 1), ("cup", 2)):
                lines = [f"{x:.18e} {y:.18e}" for x, y in _contour(labels >= least)]
                contours = folder / "ExpertsSegmentations" / "Contours"
                _write(contours / f"{identity}_{what}_exp{expert}.txt", lines)
    return ids


def write_idrid(folder: Path) -> list[str]:
    ids = []
    for part, identity, seed in (("a. Training Set", "IDRiD_01", 0), ("b. Testing Set", "IDRiD_55", 1)):
        photograph, labels = draw(seed)
        top = folder / "A. Segmentation"
        _save(top / "1. Original Images" / part / f"{identity}.jpg", photograph)
        path = top / "2. All Segmentation Groundtruths" / part / "5. Optic Disc" / f"{identity}_OD.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = Image.fromarray(np.minimum(labels, 1), "P")
        mask.putpalette((0, 0, 0, 255, 0, 0))
        mask.save(path)
        ids.append(identity)
    return ids


def write_g1020(folder: Path) -> list[str]:
    ids = ["image_0", "image_3202"]
    for seed, identity in enumerate(ids):
        photograph, labels = draw(seed)
        _save(folder / "Images" / f"{identity}.jpg", photograph)
        _write(folder / "Images" / f"{identity}.json", ["{}"])
        _save(folder / "Masks" / f"{identity}.png", labels if seed == 0 else np.minimum(labels, 1))
    return ids


WRITERS: dict[str, Callable[[Path], list[str]]] = {
    "rim-one-dl": write_rim_one_dl,
    "rim-one-r3": write_rim_one_r3,
    "drishti-gs1": write_drishti_gs1,
    "drions-db": write_drions_db,
    "refuge": write_refuge,
    "origa": write_origa,
    "papila": write_papila,
    "idrid": write_idrid,
    "g1020": write_g1020,
}


def _contour(inside: np.ndarray) -> np.ndarray:
    """(36, 2): x and y of points along the boundary of an ellipse, on the outer edge of its last pixels."""
    rows, columns = np.nonzero(inside)
    x, y = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
    width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    return np.column_stack([x + width / 2 * np.cos(angles), y + height / 2 * np.sin(angles)])


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
