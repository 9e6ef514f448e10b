"""Rows of an archive: as Parquet and back, one for each photograph, counted."""

import io

import pytest
from pyarrow import parquet

from model.errors import InvalidConfiguration, PhotographError
from service.archive import plots, rows
from service.archive.tally import DISTANCE_BINS, RATIO_BINS, Tally, folder_of

FINE = {
    **{"file": "gs://eyes/a/1.jpg", "output": "", "gradable": "true", "reasons": "", "vertical_ratio": "0.5"},
    **{"distance_from_training": "1.1", "sharpness": "0.9", "disc_left": "12", "answered": "2026-11-25T10:00:00.000"},
}
DULL = FINE | {
    **{"file": "gs://eyes/b/2.jpg", "gradable": "false", "reasons": "too_blurred cup_uncertain"},
    **{"distance_from_training": "99", "sharpness": "0.1"},
}
DEAD = {"file": "gs://eyes/b/3.jpg", "error": "unreadable_photograph", "answered": "2026-11-25T10:00:00.000"}


def test_rows_survive_parquet_and_have_types_there():
    content = rows.to_parquet([FINE, DEAD])
    table = parquet.read_table(io.BytesIO(content))
    assert table.column("vertical_ratio").to_pylist() == [0.5, None]
    assert table.column("disc_left").to_pylist() == [12, None]
    assert table.column("gradable").to_pylist() == [True, None]
    assert rows.from_parquet(content) == [FINE, DEAD]


def test_what_is_no_table_is_told():
    with pytest.raises(InvalidConfiguration, match="not a table"):
        rows.from_parquet(b"PAR1 no table PAR1")


def test_a_photograph_has_one_row_the_newest():
    later = FINE | {"answered": "2026-11-25T10:00:00.001", "vertical_ratio": "0.6"}
    assert rows.newest([DULL, later, FINE]) == [later, DULL]


@pytest.mark.parametrize(
    ("revision", "error", "now", "still"),
    [
        ("1", "", "1", True),
        ("1", "", "2", False),  # another content lies there
        ("", "", "2", True),
        ("1", "", "", True),
        ("1", "unreadable_photograph", "1", True),
        ("1", "unreadable_photograph", "2", False),
        ("1", "storage_denied", "1", False),
        ("1", "too_many_bytes", "1", False),  # the limit may have been raised
        ("1", "too_many_pixels", "1", False),
        ("1", "photograph_too_costly", "1", False),  # or this machine may have more memory, or less to do
    ],
)
def test_a_row_need_not_be_made_anew(revision: str, error: str, now: str, still: bool):
    assert rows.still_true(revision, error, now) is still


def test_errors_that_last_are_those_of_photographs():
    assert {kind.code for kind in (PhotographError, *PhotographError.__subclasses__())} >= rows.LASTING


def test_a_tally_counts_each_row_once():
    tally = Tally().add(FINE).add(DULL).add(DEAD)
    assert (tally.photographs, tally.answered, tally.gradable) == (3, 2, 1)
    assert tally.mean_ratio == 0.5
    assert tally.ratios[RATIO_BINS // 2] == 1
    assert tally.distances[DISTANCE_BINS - 1] == 1  # far beyond the last bin
    assert tally.reasons == {"too_blurred": 1, "cup_uncertain": 1}
    assert tally.errors == {"unreadable_photograph": 1}


def test_tallies_add_up_in_any_order_and_survive_json():
    whole = Tally().add(FINE).add(DULL).add(DEAD)
    parts = Tally().add(DEAD).merge(Tally().add(DULL).merge(Tally().add(FINE)))
    assert parts == whole
    assert Tally.from_dict(whole.as_dict()) == whole
    assert folder_of(FINE["file"]) == "gs://eyes/a"


def test_what_training_photographs_would_give_adds_up_to_all_of_them():
    expected = plots.expected_distances()
    assert sum(expected) == pytest.approx(1)
    width = 0.25
    squares = sum(share * ((each + 0.5) * width) ** 2 for each, share in enumerate(expected))
    assert squares == pytest.approx(1, abs=0.03)  # by the definition of the distance


def test_plots_are_pictures_also_of_nothing():
    total = Tally().add(FINE).add(DULL).add(DEAD)
    folders = [("gs://eyes/b", Tally().add(DULL).add(DEAD)), ("gs://eyes/$a", Tally().add(FINE))]
    for content in (
        plots.ratios(total, folders),
        plots.reasons(total, folders),
        plots.drift(total, folders, 2.9),
        plots.ratios(Tally(), []),
        plots.reasons(Tally(), []),
        plots.drift(Tally(), [], 2.9),
    ):
        assert content.startswith(b"\x89PNG")
    text = plots.page(total, folders, 3, {"version": "2026.1.1"})
    assert "| all | 3 | 2 | 1 | 0.500 |" in text
    assert "3 smaller folders" in text
