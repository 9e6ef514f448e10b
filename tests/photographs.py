"""Where the real photographs lie that must not enter the repository; a test that needs them says so through this."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
EXAMPLE = REPOSITORY / "examples" / "normal_left_eye.jpg"


def shared_data() -> Path:
    """The folder of the sources: `$CUPDISC_SHARED/data`, by default `../shared/data` beside the repository.

    Where it is absent the test is skipped, with the reason; with `CUPDISC_REQUIRE_DATA=1`, as in CI, it fails.
    """
    shared = os.environ.get("CUPDISC_SHARED")
    data = (Path(shared) if shared else REPOSITORY.parent / "shared") / "data"
    if not (data / "drishti-gs1" / "index.csv").is_file():
        reason = f"no real photographs in {data}: set CUPDISC_SHARED"
        if os.environ.get("CUPDISC_REQUIRE_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return data
