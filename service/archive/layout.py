"""What lies where in the folder of an archive's results."""

RESULTS = "results"  # tables of what was answered
DEAD = "failed"  # tables of what could not be used
MASKS = "masks"
SUMMARY = "summary"
UNFINISHED = ".unfinished"
SEGMENTS = f"{UNFINISHED}/segments"  # rows of a run that lasts, or was broken off
LOCK = f"{UNFINISHED}/lock"
MADE_WITH = "made_with.json"  # what all rows have in common; made first
SUCCESS = "_SUCCESS"  # made last, empty: all is there
OURS = (RESULTS, DEAD, SEGMENTS, MASKS, SUMMARY)
