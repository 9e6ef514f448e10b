"""Tests of `training.prepare`, `cache` and `shelf`, on disk and on Cloud Storage, and of `cupdisc-train prepare`."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from model.errors import InvalidConfiguration
from model.normalisation import Distribution
from tests.drawn import draw_fundus, write_folder
from tests.layouts import WRITERS
from tests.storage import FaultyProxy, Objects
from tests.trained import small_preset
from training import cli
from training.batches import batches
from training.cache import Cache
from training.config import preset_from_dict
from training.prepare import PreparedSource, cuts_for, prepare_source, prepare_sources
from training.run import train_run
from training.shelf import FolderShelf, InvalidCache, Shelf, open_shelf
from training.sources.example import InvalidSource
from training.sources.folder import read_source
from training.sources.layouts import read_layout
from training.synthetic import write_example, write_index
from training.views import CUTS, WHOLE, Cut, View, cut_all, disc_cut
from training.whole_file import CannotWrite

EYES = 5
READING = {"layout": "folder"}
SMALL = (Cut(None, 64), Cut(3.6, 48))
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of five small photographs. Not to be changed."""
    folder = tmp_path_factory.mktemp("clinic") / "clinic"
    for number in range(EYES):
        write_example(folder, f"eye{number}", *draw_fundus(np.random.default_rng(number), 120, 130, 0.3))
    write_index(folder, [[f"eye{number}", 1, 1, "full"] for number in range(EYES)])
    return folder


@pytest.fixture
def copy(clinic: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(clinic, tmp_path / "clinic"))


def prepare(folder: Path, location: str, cuts: tuple[Cut, ...] = SMALL, together: int = 2) -> PreparedSource:
    return prepare_source(
        "clinic", READING, read_source(folder, "clinic"), cuts, open_shelf(location), together=together
    )


def prepared_views(folder: Path | None, cache: Cache, cut: Cut) -> list[View]:
    here = None if folder is None else read_source(folder, "clinic")
    return cache.views(cache.examples("clinic", READING, here), cut)


def read_everything(folder: Path, cache: Cache) -> None:
    for cut in SMALL:
        prepared_views(folder, cache, cut)
    cache.hashes(read_source(folder, "clinic"))


def same(some: list[View], others: list[View]) -> bool:
    return len(some) == len(others) and all(
        a.example.id == b.example.id
        and (a.x, a.y, a.diameter) == (b.x, b.y, b.diameter)
        and all((getattr(a, name) == getattr(b, name)).all() for name in ("image", "inside", "disc", "cup"))
        for a, b in zip(some, others, strict=True)
    )


def test_prepared_views_are_those_that_are_cut_from_the_photographs(clinic: Path, tmp_path: Path):
    prepare(clinic, str(tmp_path))
    for cut in SMALL:
        cut_now = cut_all(read_source(clinic, "clinic"), cut)
        assert same(prepared_views(clinic, Cache(str(tmp_path)), cut), cut_now)
        assert same(prepared_views(None, Cache(str(tmp_path)), cut), cut_now)  # without the photographs


def test_batches_are_the_same_with_and_without(clinic: Path, tmp_path: Path):
    preset = small_preset(tmp_path, 2)
    prepare(clinic, str(tmp_path / "cache"), tuple(CUTS.values()))
    distribution = Distribution((140, 75, 40), (40, 30, 20), (0.0,) * 6, ((0.0,) * 6,) * 6, 1.0)
    for kind, config, diameters in (("whole", preset.locator, None), ("roi", preset.segmenter, 2.0)):
        served = [
            list(batches(views, config, {"clinic": 1.0}, diameters, distribution, [1], 0))
            for views in (
                cut_all(read_source(clinic, "clinic"), CUTS[kind]),
                prepared_views(None, Cache(str(tmp_path / "cache")), CUTS[kind]),
            )
        ]
        for (images, targets), (images_again, targets_again) in zip(*served, strict=True):
            assert (images == images_again).all()
            assert (targets == targets_again).all()


def test_pixels_stay_on_the_disk_until_they_are_used(clinic: Path, tmp_path: Path):
    prepare(clinic, str(tmp_path))
    for view in prepared_views(None, Cache(str(tmp_path)), SMALL[0]):
        array = view.image
        while not isinstance(array, np.memmap):
            assert isinstance(array.base, np.ndarray)
            array = array.base
        assert not view.image.flags.writeable


def test_a_run_from_the_cache_alone_is_the_run_from_the_photographs(clinic: Path, tmp_path: Path):
    tiny = {"input_size": 16, "depth": 1, "start_channels": 2}
    schedule = {"steps": 1, "batch_size": 2, "warm_up": 0}
    preset = preset_from_dict(
        {
            "name": "tiny",
            "sources": [{"name": "clinic", "held_out": 1}],
            "locator": {"network": {**tiny, "outputs": ["disc"]}, **schedule},
            "segmenter": {"network": tiny, **schedule},
        }
    )
    prepare_sources(preset, clinic.parent, cuts_for(preset, []), str(tmp_path / "cache"))
    quiet, cache = Console(quiet=True), Cache(str(tmp_path / "cache"))
    decoded = train_run(preset, clinic.parent, tmp_path / "a", quiet)
    cached = train_run(preset, tmp_path / "elsewhere", tmp_path / "b", quiet, cache=cache)
    assert cached.digests == decoded.digests
    assert cached.distribution == decoded.distribution
    for network in ("locator", "segmenter"):
        weights = [getattr(run, network).get_weights() for run in (decoded, cached)]
        for some, others in zip(*weights, strict=True):
            assert some == pytest.approx(others, abs=1e-5)


def test_what_is_there_already_is_left_alone_and_further_cuts_are_added(clinic: Path, tmp_path: Path):
    first = prepare(clinic, str(tmp_path))
    again = prepare(clinic, str(tmp_path))
    assert (first.fresh, again.fresh) == (True, False)
    assert (first.digest, first.size) == (again.digest, again.size)
    more = prepare(clinic, str(tmp_path), (Cut(2.4, 32),))
    assert more.fresh
    assert more.digest != first.digest
    for cut in (*SMALL, Cut(2.4, 32)):
        assert len(prepared_views(None, Cache(str(tmp_path)), cut)) == EYES


def test_the_same_photographs_have_the_same_digest_wherever_they_lie(clinic: Path, copy: Path, tmp_path: Path):
    assert prepare(clinic, str(tmp_path / "a")).digest == prepare(copy, str(tmp_path / "b")).digest


def test_a_changed_photograph_is_refused_by_name_and_prepared_anew(copy: Path, tmp_path: Path):
    before = prepare(copy, str(tmp_path / "cache"))
    write_example(copy, "eye3", *draw_fundus(np.random.default_rng(77), 120, 130, 0.3))
    with pytest.raises(InvalidCache, match="eye3"):
        prepared_views(copy, Cache(str(tmp_path / "cache")), SMALL[0])
    after = prepare(copy, str(tmp_path / "cache"))
    assert after.digest != before.digest
    assert same(
        prepared_views(copy, Cache(str(tmp_path / "cache")), SMALL[0]), cut_all(read_source(copy, "clinic"), SMALL[0])
    )
    files = list((tmp_path / "cache" / "clinic").glob("*.npy"))
    assert sum(path.stat().st_size for path in files) < 1.1 * after.size  # those of before are gone


def test_what_was_not_prepared_is_named(clinic: Path, tmp_path: Path):
    cache = Cache(str(tmp_path))
    with pytest.raises(InvalidCache, match="clinic is not prepared"):
        cache.examples("clinic", READING, None)
    prepare(clinic, str(tmp_path))
    with pytest.raises(InvalidCache, match=r"disc-5\.4-480"):
        prepared_views(None, cache, disc_cut(1))
    with pytest.raises(InvalidCache, match="expert"):
        cache.examples("clinic", {"layout": "papila", "options": {"expert": "2"}}, None)


def test_a_damaged_file_is_refused_by_name_and_mended(clinic: Path, tmp_path: Path):
    prepare(clinic, str(tmp_path))
    path = next((tmp_path / "clinic").glob("*.npy"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidCache, match=path.name):
        open_shelf(str(tmp_path)).fetch("clinic", path.name)
    with pytest.raises(InvalidCache, match="damaged"):  # whoever reads it
        read_everything(clinic, Cache(str(tmp_path)))
    assert prepare(clinic, str(tmp_path)).fresh
    assert same(prepared_views(None, Cache(str(tmp_path)), SMALL[1]), cut_all(read_source(clinic, "clinic"), SMALL[1]))


@pytest.mark.parametrize("manifest", [b"", b"{}", b'{"format": 1}', b"[1", b"\xff"])
def test_a_damaged_manifest_is_refused_and_mended(clinic: Path, tmp_path: Path, manifest: bytes):
    prepare(clinic, str(tmp_path))
    (tmp_path / "clinic" / "manifest.json").write_bytes(manifest)
    with pytest.raises(InvalidCache, match="clinic"):
        Cache(str(tmp_path)).examples("clinic", READING, None)
    assert prepare(clinic, str(tmp_path)).fresh


class Dying:
    """A shelf that stops at its n-th step, as where a process is killed."""

    def __init__(self, shelf: Shelf, steps: int) -> None:
        self._shelf, self._left = shelf, steps

    def __getattr__(self, name: str) -> Any:
        if name in ("put", "publish", "sweep"):
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt
        return getattr(self._shelf, name)


def test_broken_off_at_any_step_there_is_the_source_as_it_was_or_whole(clinic: Path, copy: Path, tmp_path: Path):
    write_example(copy, "eye0", *draw_fundus(np.random.default_rng(78), 120, 130, 0.3))
    steps = 3 * 3 + 2  # three files of two photographs at most, of two cuts and the hashes; manifest; sweeping
    for step in range(steps + 1):
        folder = tmp_path / str(step)
        prepare(clinic, str(folder))
        dying = Dying(FolderShelf(folder), step)
        try:
            prepare_source("clinic", READING, read_source(copy, "clinic"), SMALL, dying, together=2)
            assert step == steps
        except KeyboardInterrupt:
            assert step < steps
        done = step >= steps - 1
        assert len(prepared_views(copy if done else clinic, Cache(str(folder)), SMALL[0])) == EYES
        assert same(
            prepared_views(None, Cache(str(folder)), SMALL[1]),
            cut_all(read_source(copy if done else clinic, "clinic"), SMALL[1]),
        )


def test_a_killed_process_leaves_nothing_that_looks_whole(clinic: Path, tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from training.prepare import prepare_source;"
        "from training.shelf import open_shelf; from training.sources.folder import read_source;"
        "from training.views import Cut;"
        "examples = read_source(Path(sys.argv[1]), 'clinic');"
        "prepare_source('clinic', {}, examples, [Cut(None, 900), Cut(3.6, 900)], open_shelf(sys.argv[2]), together=1)"
    )
    light = {**os.environ, "KERAS_BACKEND": "numpy"}  # it starts sooner, and nothing is trained
    command = [sys.executable, "-c", code, str(clinic), str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, env=light) as process:
        while process.poll() is None and len(list(tmp_path.glob("clinic/*.npy"))) < 4:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(InvalidCache, match="not prepared"):
        Cache(str(tmp_path)).examples("clinic", {}, None)
    prepare(clinic, str(tmp_path))
    assert len(prepared_views(None, Cache(str(tmp_path)), SMALL[0])) == EYES
    assert not list(tmp_path.glob("clinic/partial-*"))


def test_no_room_is_told_before_anything_is_read(clinic: Path, tmp_path: Path):
    with pytest.raises(CannotWrite, match=r"needs .* GB"):
        prepare(clinic, str(tmp_path), (Cut(None, 10**6),))
    assert not list(tmp_path.glob("clinic/*"))


def test_a_disk_that_fills_up_is_told_and_nothing_looks_whole(clinic: Path, tmp_path: Path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (2 * 6 * 64**2, before[1])
        )  # a whole file is as large, and its header
        with pytest.raises(CannotWrite, match=str(tmp_path)):
            prepare(clinic, str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.glob("clinic/*"))
    with pytest.raises(InvalidCache, match="not prepared"):
        Cache(str(tmp_path)).examples("clinic", READING, None)


def test_two_processes_do_not_prepare_in_one_folder(clinic: Path, tmp_path: Path):
    with FolderShelf(tmp_path).writing_alone(), pytest.raises(CannotWrite, match="another process"):
        prepare(clinic, str(tmp_path))


def test_every_fault_of_every_source_is_named_and_sound_sources_are_prepared(copy: Path, tmp_path: Path):
    (copy / "images" / "eye1.png").write_bytes(b"not a picture")
    (copy / "masks" / "eye4.png").write_bytes((copy / "masks" / "eye3.png").read_bytes()[:40])
    write_folder(tmp_path / "sound", 1, seed=1)
    preset = preset_from_dict(
        {
            "name": "both",
            "sources": [{"name": "clinic"}, {"name": "missing"}, {"name": "sound"}],
            "locator": {"network": {"outputs": ["disc"]}},
            "segmenter": {"network": {}},
        }
    )
    with pytest.raises(InvalidSource) as caught:
        prepare_sources(preset, tmp_path, SMALL, str(tmp_path / "cache"))
    for name in ("eye1.png", "eye4.png", "missing"):
        assert name in str(caught.value)
    assert not (tmp_path / "cache" / "clinic" / "manifest.json").exists()
    assert (tmp_path / "cache" / "sound" / "manifest.json").exists()


def test_a_cup_outside_its_disc_is_told_with_how_much(tmp_path: Path):
    WRITERS["rim-one-dl"](tmp_path / "photographs")
    path = next((tmp_path / "photographs").rglob("r1_Im001-1-Cup-T.png"))
    mask = np.asarray(Image.open(path)).copy()
    mask[-round((mask > 0).sum() / mask.shape[1]) :] = 255  # about as much again, far from the disc
    Image.fromarray(mask).save(path)
    examples = read_layout("rim-one-dl", tmp_path / "photographs", "rim-one-dl", {})
    done = prepare_source("rim-one-dl", READING, examples, SMALL, FolderShelf(tmp_path / "cache"))
    assert done.cups_outside["r1_Im001"] == pytest.approx(0.5, abs=0.1)
    assert done.cups_outside["r2_Im007"] == 0


def test_crops_are_wide_enough_for_what_a_preset_draws():
    values = {"sources": [{"name": "a"}], "locator": {"network": {"outputs": ["disc"]}}, "segmenter": {"network": {}}}
    nominal = preset_from_dict({"name": "nominal", **values})
    wide = preset_from_dict({"name": "wide", "roi_diameters": 3.0, **values})
    assert cuts_for(nominal, []) == [disc_cut(0), WHOLE]
    assert cuts_for(wide, []) == [disc_cut(1), WHOLE]
    assert [cut.diameters for cut in cuts_for(nominal, None)] == [2.4, 3.6, 5.4, None]
    assert disc_cut(-1) in cuts_for(nominal, [2.0])
    with pytest.raises(InvalidConfiguration, match="diameters"):
        cuts_for(nominal, [0.0])


def test_cloud_storage_gives_the_same_views(clinic: Path, tmp_path: Path, objects: Objects, proxy: FaultyProxy):
    location = f"gs://{objects.bucket}/prepared"
    on_disk = prepare(clinic, str(tmp_path / "folder"))
    assert prepare(clinic, location).digest == on_disk.digest
    assert not prepare(clinic, location).fresh
    for cut in SMALL:
        views = prepared_views(None, Cache(location, tmp_path / "copies"), cut)
        assert same(views, cut_all(read_source(clinic, "clinic"), cut))
    proxy.seen.clear()
    prepared_views(None, Cache(location, tmp_path / "copies"), SMALL[0])
    assert not [asked for asked in proxy.seen if ".npy" in asked]  # the copies serve


def test_broken_off_before_its_manifest_cloud_storage_has_the_source_as_it_was(
    clinic: Path, copy: Path, tmp_path: Path, objects: Objects
):
    location = f"gs://{objects.bucket}/prepared"
    prepare(clinic, location)
    write_example(copy, "eye0", *draw_fundus(np.random.default_rng(79), 120, 130, 0.3))
    with pytest.raises(KeyboardInterrupt):
        prepare_source(
            "clinic", READING, read_source(copy, "clinic"), SMALL, Dying(open_shelf(location), 9), together=2
        )
    views = prepared_views(None, Cache(location, tmp_path / "copies"), SMALL[0])
    assert same(views, cut_all(read_source(clinic, "clinic"), SMALL[0]))
    done = prepare(copy, location)
    views = prepared_views(copy, Cache(location, tmp_path / "copies"), SMALL[0])
    assert same(views, cut_all(read_source(copy, "clinic"), SMALL[0]))
    assert sum(name.endswith(".npy") for name in objects.names("prepared/clinic/")) == 9
    assert done.fresh


def test_a_damaged_object_is_refused_by_name(clinic: Path, tmp_path: Path, objects: Objects):
    location = f"gs://{objects.bucket}/prepared"
    prepare(clinic, location)
    files = {name for name in objects.names("prepared/clinic/") if name.endswith(".npy")}
    for name in files:
        objects.write(name, b"something else")
    with pytest.raises(InvalidCache, match="damaged; delete it"):
        prepared_views(None, Cache(location, tmp_path / "copies"), SMALL[0])
    assert not list((tmp_path / "copies").rglob("*.npy"))
    for name in files:
        objects.delete(name)
    assert prepare(clinic, location).fresh
    views = prepared_views(None, Cache(location, tmp_path / "copies"), SMALL[0])
    assert same(views, cut_all(read_source(clinic, "clinic"), SMALL[0]))


def test_the_command_prepares_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    write_folder(tmp_path / "clinic", 4, seed=1)
    shutil.copytree(tmp_path / "clinic", tmp_path / "again")
    index = tmp_path / "again" / "index.csv"
    index.write_text("\n".join(index.read_text().splitlines()[:3]) + "\n")
    preset = tmp_path / "mine.toml"
    preset.write_text(
        '[[sources]]\nname = "clinic"\n[[sources]]\nname = "again"\nleft_out = true\n'
        '[locator.network]\noutputs = ["disc"]\n[segmenter.network]\ninput_size = 64\n'
    )
    arguments = ["prepare", str(preset), "--cache", str(tmp_path / "cache"), "--data", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["cupdisc-train", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    shown = capsys.readouterr().out
    assert "prepared now" in shown
    assert "6 photographs, 2 near-duplicate pairs, 2 across" in shown
