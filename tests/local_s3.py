"""An S3 of this machine's own, and the rights to it."""

import urllib.request
from contextlib import contextmanager

import pytest

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@contextmanager
def running():
    """Yield the server's address; a bucket named `vectors` is there."""
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patched:
        address = "http://{}:{}".format(*server.get_host_and_port())
        patched.setenv("AWS_ENDPOINT_URL", address)
        patched.setenv("AWS_ACCESS_KEY_ID", KEY)
        patched.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            s3fs.S3FileSystem().mkdir("vectors")
            yield address
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            server.stop()


@contextmanager
def without_rights(address):
    """Every request is refused within the block, as keys without rights are."""
    refuse_from(address, 0)
    try:
        yield
    finally:
        refuse_from(address, 2**31)


def refuse_from(address, request):
    plain = {"Content-Type": "text/plain"}
    asked = urllib.request.Request(f"{address}/moto-api/reset-auth", str(request).encode(), plain, method="POST")
    urllib.request.urlopen(asked).close()
