"""The version of this package as installed."""


def package_version() -> str:
    """For example 0.1.0; "unknown" when the package runs from a folder without being installed."""
    from importlib.metadata import PackageNotFoundError, version  # a tenth of the import time

    try:
        return version("trt-pipeline")
    except PackageNotFoundError:
        return "unknown"
