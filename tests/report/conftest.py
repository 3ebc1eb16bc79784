"""A made-up run as plain data and as a Result."""

import pytest

from supple.report import Result
from tests.report.example_run import example_data


@pytest.fixture
def data():
    return example_data()


@pytest.fixture
def result(data):
    return Result.of(data)
