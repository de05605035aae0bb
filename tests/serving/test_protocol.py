"""What the server takes from uvicorn is public: private names come and go within the versions that are allowed."""

import ast
import inspect

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from alignkit.serving import protocol, server
from alignkit.serving.protocol import BoundedProtocol


def private(names):
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def test_no_private_method_of_uvicorn_is_replaced():
    assert not private(vars(BoundedProtocol)) & private(dir(HttpToolsProtocol))


def test_no_private_name_of_uvicorn_is_used():
    theirs = private([*dir(HttpToolsProtocol), *dir(uvicorn.Server), *dir(uvicorn.Config)])
    for module in (protocol, server):
        used = {node.attr for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Attribute)}
        assert not used & theirs
