import pytest

from trt_pipeline.bundle.names import check_names


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/a", "a/../b", "a//b", "./a", "a/", "a\\b", "C:a", "a\0b", "a\nb", "\ud800"],
)
def test_a_name_that_is_not_plain_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="leaves the bundle"):
        check_names([name])


@pytest.mark.parametrize(
    ("one", "other"),
    [("a/B.onnx", "a/b.onnx"), ("straße", "STRASSE"), ("é", "e\u0301"), ("é", "E\u0301")],
)
def test_two_names_that_some_file_system_takes_for_one_are_refused(one: str, other: str) -> None:
    with pytest.raises(ValueError, match="is too much like"):
        check_names([one, other])


@pytest.mark.parametrize("name", ["bundle.json", "Bundle.JSON", "bundle.json.sig"])
def test_the_manifest_and_its_signature_are_not_listed(name: str) -> None:
    with pytest.raises(ValueError, match="is too much like"):
        check_names([name])


def test_a_file_is_no_folder_of_another() -> None:
    with pytest.raises(ValueError, match=r"'a' is a file, and a folder of 'A/b'|'A' is a file"):
        check_names(["a", "A/b"])


def test_names_of_a_bundle_are_fine() -> None:
    check_names(["onnx/a.weights", "onnx/b.onnx", "tokenizer/vocab.txt", "größe/文.plan"])
