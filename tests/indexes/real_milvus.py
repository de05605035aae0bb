"""A Milvus Lite, one for all tests of a process: opening a file takes longer than filling a collection."""

import pytest


@pytest.fixture(scope="session")
def milvus(tmp_path_factory):
    pymilvus = pytest.importorskip("pymilvus")
    client = pymilvus.MilvusClient(str(tmp_path_factory.mktemp("milvus") / "docs.db"))
    yield client
    client.close()
