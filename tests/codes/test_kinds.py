"""Codes against sentence-transformers' own, and what is left of a vector after them."""

import numpy as np
import pytest

from alignkit.codes.kinds import BinaryCode, FloatCode, Int8Code, leading, make_code, parse_codes, ranges_of
from alignkit.errors import ConfigError, DataError


def unit_vectors(count=300, dim=40, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32) + 0.2
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def quantize():
    module = pytest.importorskip("sentence_transformers.util.quantization")
    return module.quantize_embeddings


def test_int8_is_sentence_transformers_byte_for_byte(quantize):
    corpus, others = unit_vectors(), unit_vectors(50, seed=1)
    code = make_code("int8", 40, [corpus[:100], corpus[100:]])
    assert np.array_equal(code.encode(corpus), quantize(corpus, "int8"))
    # of other vectors, some lie outside the ranges
    assert np.array_equal(code.encode(others), quantize(others, "int8", ranges=code.ranges))


@pytest.mark.parametrize("dim", [40, 37])
def test_binary_is_sentence_transformers_ubinary(quantize, dim):
    vectors = unit_vectors(dim=dim)
    assert np.array_equal(BinaryCode(dim).encode(vectors), quantize(vectors, "ubinary"))


def test_int8_keeps_a_vector_to_one_step():
    vectors = unit_vectors()
    code = make_code("int8", 40, [vectors])
    steps = (code.ranges[1] - code.ranges[0]) / 255
    assert (np.abs(code.decode(code.encode(vectors)) - vectors) <= steps * 1.01).all()


def test_int8_of_a_dimension_that_never_changes():
    vectors = unit_vectors()
    vectors[:, 3] = 0.25
    code = make_code("int8", 40, [vectors])
    assert np.isfinite(code.decode(code.encode(vectors))).all()
    np.testing.assert_allclose(code.decode(code.encode(vectors))[:, 3], 0.25, atol=1e-6)


def test_products_of_bits_count_what_differs():
    vectors = unit_vectors(20)
    code = BinaryCode(40)
    bits = code.scanned(code.encode(vectors))
    differing = (vectors[:, None] > 0) != (vectors[None] > 0)
    assert np.array_equal(bits @ bits.T, 40 - 2 * differing.sum(axis=2))


@pytest.mark.parametrize("kind", ["float32", "float16", "int8", "binary"])
@pytest.mark.parametrize("dims", [40, 16, 13])
def test_what_is_stored_is_as_wide_as_it_says(kind, dims):
    vectors = unit_vectors()
    code = make_code(kind, dims, [vectors])
    stored = code.encode(vectors)
    assert (stored.dtype, stored.shape) == (code.dtype, (300, code.width))
    assert code.decode(stored).shape == code.scanned(stored).shape == (300, dims)


def test_leading_dimensions_have_length_one_again():
    np.testing.assert_allclose(np.linalg.norm(leading(unit_vectors(), 7), axis=1), 1, atol=1e-6)
    assert not leading(np.zeros((2, 5), np.float32), 3).any()
    assert np.array_equal(FloatCode(40).encode(unit_vectors()), unit_vectors())


def test_ranges_need_vectors():
    with pytest.raises(DataError, match="there are none"):
        ranges_of([], 4)


@pytest.mark.parametrize("text", ["int4", "", "int8,", "dims", "dims=0", "dims=-8", "dims=x", "int8;binary", "width=3"])
def test_what_is_no_code_is_refused_in_one_line(text):
    with pytest.raises(ConfigError, match="expected float32, float16, int8, binary or dims=256"):
        parse_codes(text)


def test_a_list_and_spaces_are_read_too():
    asked = parse_codes("[int8, binary, dims = 256, dims=64, int8]")
    assert (asked.kinds, asked.dims) == (("int8", "binary"), (256, 64))
    assert parse_codes("dims=8").kinds == ()


def test_int8_codes_are_made_from_ranges_alone():
    ranges = np.array([[-1, -1], [1, 1]], dtype=np.float32)
    stored = Int8Code(ranges).encode(np.array([[-9, 9], [0, 0.5]], dtype=np.float32))
    assert stored.tolist() == [[-128, 127], [-1, 63]]
