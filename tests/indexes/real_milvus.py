"""A Milvus Lite, one for all tests of a process: opening a file takes longer than filling a collection."""

import logging

import pytest


@pytest.fixture(scope="session")
def milvus(tmp_path_factory):
    pymilvus = pytest.importorskip("pymilvus")
    logging.getLogger("grpc._server").setLevel(logging.CRITICAL)  # it runs here, and shows calls that it does not know
    client = pymilvus.MilvusClient(str(tmp_path_factory.mktemp("milvus") / "docs.db"))
    yield client
    client.close()
