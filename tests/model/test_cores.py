"""The quotas of control groups, of both versions, in folders that look like theirs."""

import math
import os
from pathlib import Path

import pytest

from model import cores


def written(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("cpu_", "cpu.")).write_text(text, encoding="utf-8")


def asked(tmp_path: Path, membership: str) -> float:
    (tmp_path / "membership").write_text(membership, encoding="utf-8")
    return cores.quota(tmp_path / "groups", tmp_path / "membership")


def test_a_container_sees_its_own_group_at_the_root(tmp_path: Path) -> None:
    written(tmp_path / "groups", cpu_max="150000 100000\n")
    assert asked(tmp_path, "0::/\n") == 1.5


def test_the_tightest_of_all_groups_above_counts(tmp_path: Path) -> None:
    written(tmp_path / "groups" / "pods", cpu_max="200000 100000\n")
    written(tmp_path / "groups" / "pods" / "one", cpu_max="max 100000\n")
    assert asked(tmp_path, "0::/pods/one\n") == 2


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    written(tmp_path / "groups" / "cpu", cpu_cfs_quota_us="-1\n", cpu_cfs_period_us="100000\n")
    written(tmp_path / "groups" / "cpu" / "docker" / "x", cpu_cfs_quota_us="50000\n", cpu_cfs_period_us="100000\n")
    assert asked(tmp_path, "5:memory:/docker/y\n1:cpu,cpuacct:/docker/x\n0::/\n") == 0.5


@pytest.mark.parametrize("text", ["max 100000\n", "", "nonsense"])
def test_no_quota_is_none(tmp_path: Path, text: str) -> None:
    written(tmp_path / "groups", cpu_max=text)
    assert asked(tmp_path, "0::/\n") == math.inf


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cores.quota(tmp_path / "none", tmp_path / "neither") == math.inf


@pytest.mark.parametrize(("quota", "expected"), [(math.inf, 64), (1.5, 2), (0.2, 1), (80.0, 64)])
def test_as_many_as_both_allow(monkeypatch: pytest.MonkeyPatch, quota: float, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(cores, "quota", lambda: quota)
    assert cores.usable_cores() == expected
