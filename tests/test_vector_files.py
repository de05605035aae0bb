"""Files of vectors that are not what their name says, and those that are and cannot be used."""

import gzip
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from alignkit.errors import DataError
from alignkit.vector_files import check_vectors, chosen_array, open_vectors

ROWS = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


class Evil:
    """A pickle of it would make a file when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def content_of(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def npy(rows=ROWS):
    return content_of(lambda file: np.save(file, rows, allow_pickle=True))


def npz(**arrays):
    return content_of(lambda file: np.savez(file, **arrays))


def torch_file(zipped=True):
    return content_of(lambda f: torch.save(torch.from_numpy(ROWS), f, _use_new_zipfile_serialization=zipped))


def xlsx():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("xl/workbook.xml", "<x/>")
    return buffer.getvalue()


SAFETENSORS = (64).to_bytes(8, "little") + json.dumps({}).ljust(64).encode()
REAL = {
    "npy": (npy(), "a NumPy array (.npy)"),
    "npz": (npz(a=ROWS), "a NumPy archive (.npz)"),
    "safetensors": (SAFETENSORS, "a safetensors file (.safetensors)"),
    "torch": (torch_file(), "a PyTorch file (torch.save), which is never read"),
    "old torch": (torch_file(zipped=False), "a PyTorch file (torch.save), which is never read"),
    "pickle": (pickle.dumps(ROWS), "a Python pickle, which is never read, since it could run code"),
    "gzip": (gzip.compress(npy()), "a gzip archive; unpack it"),
    "parquet": (b"PAR1....", "a Parquet file"),
    "arrow": (b"ARROW1..", "an Arrow or Feather file"),
    "hdf5": (b"\x89HDF\r\n\x1a\n....", "an HDF5 file"),
    "excel": (xlsx(), "an Excel file (.xlsx)"),
    "page": (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", "a web page (HTML)"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "git lfs pull"),
    "gguf": (b"GGUF\x03\0\0\0", "a model in GGUF"),
    "faiss": (b"IxF2....", "a FAISS index"),
    "text": (b"0.5,0.25\n0.125,1\n", "text"),
    "json": (b'[[0.5, 0.25], [0.125, "\xe4\xbd\xa0"]]', "text"),
    "cut zip": (npz(a=ROWS)[:200], "a ZIP archive that is damaged or cut short"),
}


@pytest.mark.parametrize("ending", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("real", REAL)
def test_what_a_file_really_is_is_said_in_one_line(tmp_path, ending, real):
    if real == ending:
        return
    content, words = REAL[real]
    path = tmp_path / f"really.{ending}"
    path.write_bytes(content)
    for look in (open_vectors, chosen_array):
        with pytest.raises(DataError) as caught:
            look(path)
        said = str(caught.value)
        assert words in said and said.startswith(f"{path}: expected {REAL[ending][1]}, but it is ") and "\n" not in said
    if real in ("npy", "npz", "safetensors"):
        assert said.endswith(f"; rename it to really.{real}")


@pytest.mark.parametrize("ending", ["npy", "npz", "safetensors"])
def test_no_pickle_is_ever_read(tmp_path, ending):
    mark = tmp_path / "made by the pickle"
    objects = np.array([Evil(mark)], dtype=object)
    for content in (pickle.dumps(Evil(mark)), npy(objects), npz(a=objects), npz(a=ROWS, b=objects)):
        path = tmp_path / f"evil.{ending}"
        path.write_bytes(content)
        with pytest.raises(DataError):
            open_vectors(path, "b" if ending == "npz" else None)
    assert not mark.exists()
    (tmp_path / "evil.npz").write_bytes(npz(a=ROWS, b=objects))
    assert open_vectors(tmp_path / "evil.npz", "a").shape == (50, 8)
    with pytest.raises(DataError, match="it holds Python objects, which are never unpickled"):
        open_vectors(tmp_path / "evil.npz", "b")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.npy", npy()[:-100], "not a readable .npy array .it is cut short"),
        ("big_endian.npy", npy(ROWS.astype(">f4")), "got float32 of the other byte order; save it as float32"),
        ("int8.npy", npy((ROWS * 100).astype(np.int8)), "got int8; save it as float32"),
        ("complex.npy", npy(ROWS.astype(np.complex64)), "got complex64"),
        ("bfloat16.npy", npy(ROWS.astype(np.float16).view("V2")), r"got raw bytes of 2 \(bfloat16\?\)"),
        ("texts.npy", npy(np.array([["a", "b"]])), "got str"),
        ("one.npy", npy(ROWS[0]), r"expected a 2-D array \(rows, dimensions\), got shape \(8,\)"),
        ("three.npy", npy(ROWS[:, None]), r"got shape \(50, 1, 8\)"),
        ("none.npy", npy(np.float32(1)), r"got shape \(\)"),
        ("no_rows.npy", npy(ROWS[:0]), r"holds no vectors, its shape is \(0, 8\)"),
        ("none.npz", npz(), "holds no array"),
        ("several.npz", npz(a=ROWS, b=ROWS), "holds the arrays a, b; expected one of them as key, got no key"),
        ("none.safetensors", SAFETENSORS, "holds no array"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        open_vectors(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int8"])
def test_safetensors_of_another_type_are_named(tmp_path, dtype):
    save_tensors({"a": torch.from_numpy(ROWS).to(getattr(torch, dtype))}, tmp_path / "a.safetensors")
    with pytest.raises(DataError, match="expected float16, float32, float64, got (BF16|F8_E4M3|F8_E5M2|I8); save"):
        open_vectors(tmp_path / "a.safetensors")


def test_a_safetensors_file_that_is_cut_short(tmp_path):
    save_file({"a": ROWS}, tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    for length in (len(whole) - 10, 40):
        (tmp_path / "a.safetensors").write_bytes(whole[:length])
        with pytest.raises(DataError, match="not a readable .safetensors file"):
            open_vectors(tmp_path / "a.safetensors")


def test_columns_first_are_rows_too(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(ROWS))
    opened = open_vectors(tmp_path / "f.npy")
    check_vectors(opened, "f.npy")
    assert np.array_equal(opened[np.array([3, 7])], ROWS[[3, 7]])


def test_a_damaged_member_of_an_archive_is_one_line(tmp_path):
    packed = content_of(lambda file: np.savez_compressed(file, a=ROWS))
    middle = len(packed) // 2
    (tmp_path / "a.npz").write_bytes(packed[:middle] + bytes(20) + packed[middle + 20 :])
    with pytest.raises(DataError, match="not a readable .npz archive"):
        open_vectors(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [ROWS.tobytes(), b"\x08\0\0\0" + ROWS[0].tobytes()])
def test_numbers_without_a_header_are_not_taken_for_python_objects(tmp_path, content):
    (tmp_path / "raw.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"raw.npy: expected a NumPy array \(.npy\), but it is something else.*numbers"):
        open_vectors(tmp_path / "raw.npy")


def test_a_folder_is_called_one(tmp_path):
    (tmp_path / "a.npy").mkdir()
    with pytest.raises(DataError, match=r"a.npy: expected a file, but it is a folder"):
        open_vectors(tmp_path / "a.npy")
