"""Keys: whose they are, how long they last, how the file changes under way, and what their check gives away."""

import gc
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from model.errors import InvalidConfiguration
from service import keys
from service.key_commands import app
from service.keys import Callers, Key, KeyFile, Verifier, digest, new_key

TRIES = 100_000
THRESHOLD = 4.5  # of |t|; Goodwill et al. 2011, as used by dudect


def key_file(folder: Path, *entries: dict[str, object], **holders: object) -> Path:
    path = folder / "keys.json"
    content = {"keys": [{"scopes": ["segment"], **entry} for entry in entries], **holders}
    path.write_text(json.dumps(content, default=str), encoding="utf-8")
    return path


def run(*arguments: str | Path, given: str = "") -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], input=given)


def test_each_key_is_its_callers(tmp_path: Path) -> None:
    shown = [new_key() for _ in range(3)]
    path = key_file(tmp_path, *({"name": f"clinic-{n}", "sha256": digest(key)} for n, key in enumerate(shown)))
    callers = Callers(path)
    for number, key in enumerate(shown):
        found = callers.by_key(key.encode())
        assert found is not None
        assert found.name == f"clinic-{number}"
    for wrong in (new_key(), shown[0][:-1], shown[0] + "A", "", "x" * 10_000):
        assert callers.by_key(wrong.encode()) is None


def test_the_file_does_not_hold_the_key(tmp_path: Path) -> None:
    made = run("add", "clinic", "--file", tmp_path / "keys.json")
    key = made.stdout.strip()
    assert key.startswith("cupdisc_")
    assert len(key) >= 40
    assert key.removeprefix("cupdisc_") not in (tmp_path / "keys.json").read_text(encoding="utf-8")
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    found = Callers(tmp_path / "keys.json").by_key(key.encode())
    assert found is not None
    assert found.scopes == {"segment"}
    assert not keys.is_expired(found)


def test_no_two_keys_are_the_same() -> None:
    assert len({new_key() for _ in range(1000)}) == 1000


def test_keys_are_added_removed_and_listed_by_command(tmp_path: Path) -> None:
    file = ("--file", tmp_path / "keys.json")
    own = new_key()
    assert run("add", "one", *file, "--stdin", given=own + "\n").exit_code == 0
    assert run("add", "two", *file, "--scope", "admin", "--days", "0", "--rate", "60/minute").exit_code == 0
    assert run("allow", "robot", *file, "--email", "robot@example.org").exit_code == 0
    listed = run("list", *file).stdout
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["one", "two", "robot"]
    assert "never" in listed
    assert "60/minute" in listed
    assert run("remove", "two", *file).exit_code == 0
    assert [key.name for key in keys.read(tmp_path / "keys.json").keys] == ["one"]
    assert Callers(tmp_path / "keys.json").by_key(own.encode()) is not None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["add", "one", "--scope", "everything"], "scopes"),
        (["add", "one", "--rate", "often"], "rate"),
        (["add", "../one"], "name"),
        (["allow", "one"], "subject or email"),
        (["remove", "nobody"], "nobody"),
        (["add", "twice"], "same name"),
        (["add", "one", "--stdin"], "32"),  # nothing comes in
    ],
)
def test_what_cannot_be_is_refused_and_the_file_stays(tmp_path: Path, arguments: list[str], named: str) -> None:
    path = key_file(tmp_path, {"name": "twice", "sha256": digest("x")})
    before = path.read_bytes()
    done = run(*arguments, "--file", path)
    assert done.exit_code == 1
    assert named in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"keys": [{"name": "a", "sha256": "plain text", "scopes": ["segment"]}]}',
        '{"keys": [{"name": "a", "scopes": ["segment"]}]}',
        '{"keys": [{"name": "a", "sha256": "' + "0" * 64 + '", "scopes": []}]}',
        '{"keys": [{"name": "a", "sha256": "'
        + "0" * 64
        + '", "scopes": ["segment"], "expires": "2027-01-01T00:00:00"}]}',
        '{"keyz": []}',
    ],
)
def test_a_wrong_file_stops_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidConfiguration, match=r"keys\.json"):
        Callers(path)


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="cannot be read"):
        Callers(tmp_path / "nowhere.json")


def test_a_changed_file_is_read_anew_and_a_broken_one_is_not(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    callers = Callers(key_file(tmp_path, {"name": "old", "sha256": digest(old)}))
    assert callers.by_key(old.encode()) is not None
    path = key_file(tmp_path, {"name": "new", "sha256": digest(new)})
    assert callers.by_key(old.encode()) is None
    assert callers.by_key(new.encode()) is not None
    path.write_text("{", encoding="utf-8")
    assert callers.by_key(new.encode()) is not None
    path.unlink()
    assert callers.by_key(new.encode()) is not None
    key_file(tmp_path)
    assert callers.by_key(new.encode()) is None


def test_a_replaced_file_keeps_nothing_of_the_old_one_in_a_reader(tmp_path: Path) -> None:
    path = key_file(tmp_path, {"name": "one", "sha256": digest("one")})
    reader = path.open(encoding="utf-8")
    keys.write(path, KeyFile())
    with reader:
        assert "one" in reader.read()  # a reader under way sees the old file whole
    assert keys.read(path) == KeyFile()
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_expires_at_its_time() -> None:
    now = datetime.now(UTC)
    entry = {"name": "a", "sha256": digest("a"), "scopes": ["segment"]}
    assert keys.is_expired(Key(**entry, expires=now))
    assert not keys.is_expired(Key(**entry, expires=now + timedelta(minutes=1)))
    assert not keys.is_expired(Key(**entry))


def welch(verify: Callable[[bytes], object], right: bytes, wrong: bytes) -> float:
    """Welch's t of the times for two inputs in random order, without the slowest tenth: those were interrupted."""
    order = np.random.default_rng().permutation(np.repeat([0, 1], TRIES // 2)).tolist()
    sources, took, shown = (bytearray(right), bytearray(wrong)), [0] * TRIES, b""
    neither = bytes(reversed(right))
    clock = time.perf_counter_ns
    gc.disable()
    try:
        for number, which in enumerate(order):
            shown = b""  # so that both kinds lie in the same place of memory
            shown = bytes(sources[which])
            verify(neither)  # so that the processor has forgotten where that was copied from
            began = clock()
            verify(shown)
            took[number] = clock() - began
    finally:
        gc.enable()
    times, kinds = np.array(took, float), np.array(order)
    kept = times <= np.quantile(times, 0.9)
    a, b = times[kept & (kinds == 0)], times[kept & (kinds == 1)]
    return float((a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size))


def test_the_time_of_the_check_tells_nothing_and_this_test_would_hear_it() -> None:
    known = [new_key() for _ in range(3)]
    right, last = known[0].encode(), known[2].encode()
    wrong = bytes([right[0] ^ 1]) + right[1:]

    def plain(shown: bytes) -> bool:
        return shown == right

    verify = Verifier([digest(key) for key in known])
    assert any(abs(welch(plain, right, wrong)) > THRESHOLD for _ in range(6))  # a nanosecond: not heard every time
    assert abs(welch(verify, right, wrong)) < THRESHOLD
    assert abs(welch(verify, right, last)) < THRESHOLD  # nor does a key's place in the file
