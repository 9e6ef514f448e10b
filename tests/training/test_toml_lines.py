"""Tests of `training.toml_lines`."""

from training.toml_lines import line_of, lines_of

TEXT = '''# nothing yet
a = 1
"b c" = [
  1,
  2,
]
d.e = { f = 2, g = [{ h = 3 }] }
[t]
x = """
[not.a.table]
y = 1
"""
z = 2
[[u]]
x = 1
[u.v]
w = 2
[[u]]

[[u.k]]
m = 1
[[u.k]]
m = 2
'''


def test_every_key_has_its_line():
    assert lines_of(TEXT) == {
        **{"a": 2, "b c": 3, "d": 7, "d.e": 7, "d.e.f": 7, "d.e.g": 7, "d.e.g[0].h": 7},
        **{"t": 8, "t.x": 9, "t.z": 13},
        **{"u[0]": 14, "u[0].x": 15, "u[0].v": 16, "u[0].v.w": 17},
        **{"u[1]": 18, "u[1].k[0]": 20, "u[1].k[0].m": 21, "u[1].k[1]": 22, "u[1].k[1].m": 23},
    }


def test_a_problem_is_found_at_its_key_or_else_at_the_nearest_table():
    lines = lines_of(TEXT)
    assert line_of("t.z: must be 3", lines) == 13
    assert line_of("t.z=2: must be 3", lines) == 13
    assert line_of("u[1].k[1].n: missing", lines) == 22
    assert line_of("u[0].v.w[3]: must be 1", lines) == 17
    assert line_of("elsewhere: missing", lines) is None
