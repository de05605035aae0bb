import ssl

import httpx
import pytest

from alignkit.servers import certificates
from alignkit.servers.certificates import trusted_by


@pytest.fixture
def read(monkeypatch):
    """How often the system's certificates were read."""
    times, create = [], httpx.create_ssl_context
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: times.append(None) or create())
    certificates._known.cache_clear()
    yield times
    certificates._known.cache_clear()


def test_they_are_read_once_for_all_encrypted_servers(read):
    first, second = (trusted_by(httpx.URL(url)) for url in ("https://one.example/v1", "https://two.example"))
    assert first is second and len(read) == 1
    assert first.verify_mode == ssl.CERT_REQUIRED and first.check_hostname and first.cert_store_stats()["x509_ca"] > 0


def test_without_encryption_nothing_is_read_and_nobody_trusted(read, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/no such file.pem")
    context = trusted_by(httpx.URL("http://127.0.0.1:11434"))
    assert not read and context.verify_mode == ssl.CERT_REQUIRED and context.cert_store_stats()["x509_ca"] == 0


def test_a_file_that_is_named_later_is_read(read, monkeypatch, tmp_path):
    url = httpx.URL("https://one.example")
    everybody = trusted_by(url)
    with monkeypatch.context() as patched, pytest.raises(FileNotFoundError):
        patched.setenv("SSL_CERT_FILE", str(tmp_path / "ours.pem"))
        trusted_by(url)
    assert trusted_by(url) is everybody
