"""The command export-all, also `python -m trt_export`."""

import sys


def main() -> None:
    """Run it; without the packages of the export half, say how to install them."""
    try:
        from trt_export.cli import main as export_all
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("trt_"):
            raise
        sys.exit(
            f"error: export-all needs the {error.name} package. "
            'Install it with: pip install "trt-pipeline[export]"'
        )
    export_all()


if __name__ == "__main__":
    main()
