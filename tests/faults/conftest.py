from tests.runtime.conftest import bundle, own_bundle

__all__ = ["bundle", "own_bundle"]
