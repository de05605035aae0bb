"""What an optional package's absence is called, whoever imports it."""

import sys

import pytest

from alignkit.errors import MissingExtraError
from alignkit.extras import check_installed, folder_of, needing


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "no_such", None)
    with pytest.raises(MissingExtraError) as missing, needing("chroma"):
        import no_such.part  # noqa: F401
    assert str(missing.value) == 'no-such is not installed; install it with: pip install "alignkit[chroma]"'
    with pytest.raises(MissingExtraError, match="^other-name is not installed"), needing("chroma", "other-name"):
        import no_such  # noqa: F401


def test_what_is_there_but_broken_is_not_called_absent():
    said = r'^psycopg cannot be imported \(no libpq\); install it with: pip install "alignkit\[pgvector\]"$'
    with pytest.raises(MissingExtraError, match=said), needing("pgvector", "psycopg"):
        raise ImportError("no libpq\nattempts: three")
    with pytest.raises(MissingExtraError, match=r"^numpy cannot be imported \(cannot import name"), needing("local"):
        from numpy import no_such_name  # noqa: F401


def test_a_fault_of_our_own_stays_what_it_is():
    with pytest.raises(ModuleNotFoundError), needing("serve"):
        import alignkit.no_such  # noqa: F401


def test_packages_are_looked_for_without_being_imported(tmp_path, monkeypatch):
    package = tmp_path / "looked_for_alone"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    check_installed("local", "numpy", package.name)
    assert folder_of(package.name, "local") == package and package.name not in sys.modules
    for look in (lambda: check_installed("onnx", "numpy", "no_such"), lambda: folder_of("no_such", "onnx")):
        with pytest.raises(MissingExtraError, match=r'^no-such is not installed; .*"alignkit\[onnx\]"$'):
            look()
