"""What can be wrong with a Ray before there is one."""

import socket
import sys
import threading
import time

import pytest
from small_work import Squares, cut

from alignkit.errors import ConfigError, EngineError, MissingExtraError
from alignkit.workers.manifest import Manifest
from alignkit.workers.ray import RayEngine, ray_module
from alignkit.workers.running import run
from alignkit.workers.variables import named_variables


def squares(folder, engine):
    return run(Squares(str(folder)), Manifest.open(folder / "parts", {}, lambda: cut(2)), engine)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"address": "somewhere"}, "engine.address=somewhere: expected local, auto, HOST:PORT or ray://HOST:PORT"),
        ({"address": "ray://host"}, "engine.address=ray://host: expected local"),
        ({"address": "host:99999"}, "engine.address=host:99999: expected local"),
        ({"workers": 0}, "workers=0: expected a whole number of at least 1, or null, one a core"),
        ({"gpus_per_worker": -1}, "gpus_per_worker=-1: expected a number of at least 0"),
    ],
)
def test_settings_that_cannot_be_used(settings, words):
    with pytest.raises(ConfigError) as refused:
        RayEngine(**settings)
    assert words in str(refused.value)


def test_without_ray_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'install it with: pip install "alignkit\[ray\]"'):
        squares(tmp_path, RayEngine())


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_no_ray_answers_is_one_line(scheme, tmp_path):
    ray_module()
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"

        def answer():
            with server.accept()[0] as opened:
                opened.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(EngineError, match=f"{address}: no Ray .*what answers there is something else"):
            squares(tmp_path, RayEngine(address))
        thread.join()
    with pytest.raises(EngineError, match=f"engine.address={address}: no Ray answers there .*start one with ray start"):
        squares(tmp_path, RayEngine(address))
    assert time.monotonic() - started < 12


def test_variables_that_settings_name_go_along(monkeypatch):
    monkeypatch.setenv("MY_KEY", "k")
    monkeypatch.setenv("PGPASSWORD", "p")
    settings = {"source": {"api_key_env": "MY_KEY", "url": "MY_KEY"}, "target": {"api_key_env": "NOT_SET"}}
    assert named_variables(settings) == {"MY_KEY": "k"}
    found = named_variables(settings, "PG")
    assert found["PGPASSWORD"] == "p" and found["MY_KEY"] == "k"
