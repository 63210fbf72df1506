"""Environments of peers whose packages do not go with the project's."""

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[1]
RUNTIME = HERE.parent / "runtime"
"""What a worker imports of this project needs NumPy and Pillow only."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with packages of its own."""

    name: str
    requirements: tuple[str, ...]

    def python(self, work: Path) -> Path:
        """Its interpreter; the environment is made in a folder when it is asked for first."""
        folder = work.resolve() / "environments" / self.name
        ready = folder / "ready"
        interpreter = folder / "bin" / "python"
        if not ready.exists():
            venv.create(folder, clear=True, with_pip=True)
            _add_paths(folder)
            install: list[str | Path] = [
                interpreter,
                "-m",
                "pip",
                "install",
                "--quiet",
                *self.requirements,
            ]
            subprocess.run(install, check=True, stdout=sys.stderr)
            ready.touch()
        return interpreter


def _add_paths(folder: Path) -> None:
    """Let the environment import this project's runtime and benchmarks."""
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "trt_pipeline.pth").write_text(f"{RUNTIME}\n{HERE}\n")
