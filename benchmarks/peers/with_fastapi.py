"""Plain FastAPI, by its tutorial on files: `def` endpoints run in its pool of threads.

fastapi.tiangolo.com/tutorial/request-files, /deployment/server-workers
"""

from typing import Annotated, Any

from fastapi import FastAPI, File

from benchmarks.peers import work

app = FastAPI()
segment = work.load()


@app.post("/predict")
def predict(file: Annotated[bytes, File()]) -> dict[str, Any]:
    """Disc, cup and ratio."""
    return segment(file)
