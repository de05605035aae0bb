"""The copy against the package `gguf`, which is the reference here, and against the file that it is made of."""

import gc
import hashlib
import struct
import tracemalloc

import numpy as np
import pytest

from alignkit.errors import DataError
from alignkit.gguf_files.header import read_header
from alignkit.gguf_files.pooled_copy import PooledCopy

gguf = pytest.importorskip("gguf")
from gguf_files.small_model import write_model  # noqa: E402

NOTES = {"alignkit.made_from": "sha256:abc"}


def read(path):
    """Every pair and every tensor as the package reads them."""
    reader = gguf.GGUFReader(str(path))
    pairs = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    tensors = {tensor.name: (tensor.tensor_type, np.array(tensor.data)) for tensor in reader.tensors}
    del reader
    gc.collect(1)  # Windows removes no file that is mapped
    return pairs, tensors


def written(path, pooling="last"):
    copy = PooledCopy(path, pooling, NOTES)
    made = path.with_name("copy.gguf")
    made.write_bytes(b"".join(copy.chunks()))
    assert made.stat().st_size == copy.size
    assert copy.digests() == tuple(hashlib.sha256(one.read_bytes()).hexdigest() for one in (path, made))
    return made


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"architecture": "gemma3"},
        {"alignment": 64},
        {"alignment": 4096},
        {"order": gguf.GGUFEndian.BIG},
        {"pooling_type": 0},
        {"pooling_type": 2, "order": gguf.GGUFEndian.BIG},
    ],
    ids=str,
)
@pytest.mark.parametrize(("pooling", "number"), [("last", 3), ("mean", 1)])
def test_all_is_as_it_was_but_the_pooling_type(tmp_path, settings, pooling, number):
    path = write_model(tmp_path / "model.gguf", **settings)
    before, after = read(path), read(written(path, pooling))
    key = f"{settings.get('architecture', 'llama')}.pooling_type"
    assert after[0] == {**before[0], key: number, **NOTES}
    assert before[1].keys() == after[1].keys()
    for name, (kind, numbers) in before[1].items():
        assert after[1][name][0] == kind
        np.testing.assert_array_equal(after[1][name][1], numbers)


def test_a_copy_of_a_copy_takes_the_other_pooling_and_keeps_where_it_comes_from(tmp_path):
    first = written(write_model(tmp_path / "model.gguf"))
    again = first.rename(tmp_path / "again.gguf")
    copy = PooledCopy(again, "mean", {"alignkit.made_from": "sha256:other"})
    made = tmp_path / "mean.gguf"
    made.write_bytes(b"".join(copy.chunks()))
    assert made.stat().st_size == again.stat().st_size
    pairs, _ = read(made)
    assert (pairs["llama.pooling_type"], pairs["alignkit.made_from"]) == (1, "sha256:abc")


def test_the_header_is_what_the_package_reads(tmp_path):
    path = write_model(tmp_path / "model.gguf", "qwen2", alignment=128)
    header, reader = read_header(path), gguf.GGUFReader(str(path))
    assert header.data_start == reader.data_offset
    assert (header.tensors, header.architecture, header.alignment, header.parts) == (2, "qwen2", 128, 1)
    scalars = {name: value for name, value in read(path)[0].items() if not isinstance(value, list)}
    assert header.values == pytest.approx(scalars)
    assert header.is_language_model


def test_what_is_no_language_model(tmp_path):
    writer = gguf.GGUFWriter(str(tmp_path / "projector.gguf"), "clip")
    writer.add_type("mmproj")
    writer.add_tensor("v.weight", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert not read_header(tmp_path / "projector.gguf").is_language_model


def test_one_part_of_several_is_refused(tmp_path):
    writer = gguf.GGUFWriter(str(tmp_path / "m-00001-of-00003.gguf"), "llama")
    writer.add_uint16("split.count", 3)
    writer.add_tensor("token_embd.weight", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(DataError, match=r"one of 3 parts.*llama-gguf-split --merge"):
        PooledCopy(tmp_path / "m-00001-of-00003.gguf", "last", {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"GG", "not a GGUF file"),
        (b"<!DOCTYPE html><html>please log in</html>", "not a GGUF file"),
        (b"PK\x03\x04" + bytes(60), "not a GGUF file"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(40), "GGUF version 1, expected 2 or 3"),
        (b"GGUF" + struct.pack("<I", 3), "breaks off"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1 << 60), "breaks off"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1 << 62) + bytes(40), "breaks off"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 99), "unknown type 99"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 60), "breaks off"),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9,
            "unknown type 9",
        ),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 17) + b"general.alignment" + struct.pack("<II", 4, 0),
            "expected a power of two",
        ),
    ],
)
def test_other_files_and_damaged_ones_are_one_line(tmp_path, content, words):
    (tmp_path / "odd.gguf").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_header(tmp_path / "odd.gguf")


def test_a_file_that_is_cut_while_it_is_sent(tmp_path):
    path = write_model(tmp_path / "model.gguf")
    copy = PooledCopy(path, "last", {})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="became 40 bytes shorter"):
        list(copy.chunks())


def test_a_large_file_is_never_in_memory(tmp_path):
    path = write_model(tmp_path / "model.gguf")
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + (256 << 20))
    tracemalloc.start()
    assert sum(map(len, PooledCopy(path, "last", {}).chunks())) > 256 << 20
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 << 20
