"""Fixtures that the tests of all modalities share with those of readers and preprocessors."""

from tests.preprocessor.conftest import (  # noqa: F401 - fixtures
    composed,
    contents,
    fixtures,
    gunzip,
    load_json,
    make_task,
    pictures,
    png,
    with_test,
    write_raw,
)
from tests.reader.conftest import write_idx  # noqa: F401 - a fixture
