"""The notebooks run from their first cell to their last, in a folder of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": os.environ["JAX_COMPILATION_CACHE_DIR"]}
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "largest difference" in done.stdout and "refused: obs has the shape (2, 99)" in done.stdout
    assert {each.name for each in tmp_path.iterdir()} == {"results", "team.stablehlo", "team.stablehlo.json"}


def test_there_is_a_notebook_and_each_has_text_and_code_cells():
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        cells = re.findall(r"^# %%( \[markdown\])?$", path.read_text(), flags=re.MULTILINE)
        assert cells[0] and cells.count("") >= 3
