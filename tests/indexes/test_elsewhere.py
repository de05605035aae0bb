"""Rows of one engine in another: ids, texts and payload stay theirs, whatever happens meanwhile."""

import json
from contextlib import contextmanager

import numpy as np
import pytest
from engines import DIM, ENGINES, ROWS, stored, unit_vectors
from new_places import PLACES, new_place

from alignkit.errors import DataError
from alignkit.indexes import elsewhere
from alignkit.indexes.elsewhere import Elsewhere
from alignkit.indexes.index_rows import joined
from alignkit.indexes.parquet import ParquetIndex

WIDE = 12
MADE = unit_vectors(ROWS + 1, WIDE, seed=4)
# 5 has no vector; the values and names are of the kinds that users have
PAYLOAD = {
    0: {"price": 3, "in stock": True, "tags": ["a", "b"], 'it\'s "odd", 100%s {x}': "ünï"},
    1: {"price": 2.5, "in stock": False, "tags": [], "size": {"w": 1, "h": None}},
    20: {"price": "on request", "in stock": None, "late": 7},
}


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    return new_place(request.param, tmp_path, request)


@pytest.fixture
def made(request, tmp_path):
    """A collection of Qdrant, whose ids are of two types."""
    vectors = list(unit_vectors())
    vectors[5] = [0.0] * DIM
    made = stored("qdrant", tmp_path, request, vectors)
    for row, payload in PAYLOAD.items():
        made.settings["client"].set_payload("docs", payload, [made.ids[row]])
    made.settings["payload"] = ["*"]
    return made


@contextmanager
def moving(made, place):
    """As another process has it."""
    with made.open() as index, place.new() as new:
        yield Elsewhere(index, new)


def move(made, place, batch=13):
    with moving(made, place) as replacement:
        replacement.begin(WIDE)
        written = sum(replacement.write(rows, new_vectors(made, rows)) for rows in replacement.missing(batch))
        return written, replacement.prune(), replacement.build_index()


def new_vectors(made, rows):
    position = {one: row for row, one in enumerate(made.ids)}
    return MADE[[position[one] for one in rows.ids]]


def there(made, place):
    """What the new index has, by the texts of the old ids."""
    with place.new() as new, new.opened() as index:
        rows = joined(list(index.scan(batch=9)))
    return {str(one): row for row, one in enumerate(rows.ids)}, rows


def assert_same_payload(new, old):
    """A table has every column in every row, and writes a column of mixed values as JSON."""
    for name in {*new, *old}:
        one, other = filled(new.get(name)), filled(old.get(name))
        assert one == other or json.loads(one) == other, name


def filled(value):
    return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value


def test_every_engine_takes_rows_of_others():
    assert PLACES == ENGINES


def test_rows_are_moved_whole_and_found(made, place):
    move(made, place)
    position, rows = there(made, place)
    assert set(position) == {str(one) for one in made.ids}
    order = [position[str(one)] for one in made.ids]
    assert [rows.texts[row] for row in order] == made.texts
    np.testing.assert_allclose(rows.vectors[order[6:]], MADE[6:ROWS], atol=1e-6)
    assert np.isnan(rows.vectors[order[5]]).all()
    with place.new() as new, new.opened() as index:
        assert (index.describe().rows, index.describe().dim) == (ROWS, WIDE)
        assert [str(hits[0]) for hits in index.search(MADE[7:9], 3)[0]] == [str(one) for one in made.ids[7:9]]
        again = index.fetch([*made.ids[20:], "none such"])
        assert [str(one) for one in again.ids] == [str(one) for one in made.ids[20:]]
    if place.keeps_payload:
        with made.open() as index:
            old = index.fetch(made.ids).payload
        for row, payload in zip(order, old, strict=True):
            assert_same_payload(rows.payload[row], place.kept(payload))
        assert old[0].items() >= PAYLOAD[0].items()


def test_a_killed_move_goes_on_and_nothing_is_there_twice(made, place):
    with moving(made, place) as replacement:
        assert replacement.stage() == "untouched"
        replacement.begin(WIDE)
        first = next(replacement.missing(16))
        replacement.write(first, new_vectors(made, first))
        replacement.write(first, new_vectors(made, first))  # once more does no harm
    with moving(made, place) as replacement:
        assert replacement.stage() == "begun"
        replacement.begin(WIDE)
        with pytest.raises(DataError, match="by 12-d vectors has begun, and these have 5"):
            replacement.begin(5)
        with pytest.raises(DataError, match=f"{ROWS - 16 - 0} rows have no new vector"):
            replacement.cut_over()
        rest = joined(list(replacement.missing(7)))
        assert len(rest) == ROWS - 16
        assert not {*rest.ids} & {*first.ids}
    assert move(made, place)[0] == ROWS - 16
    assert len(there(made, place)[1]) == ROWS


def test_rows_that_come_change_and_go_meanwhile_are_followed(made, place):
    from qdrant_client import models

    move(made, place)
    client = made.settings["client"]
    new = models.PointStruct(id=999, vector=unit_vectors(1, DIM, seed=9)[0].tolist(), payload={"body": "new"})
    client.upsert("docs", [new])
    client.set_payload("docs", {"body": "another text"}, [made.ids[2]])
    client.set_payload("docs", {"price": 4}, [made.ids[0]])
    client.update_vectors("docs", [models.PointVectors(id=made.ids[50], vector=unit_vectors(1, DIM, 8)[0].tolist())])
    client.delete("docs", models.PointIdsList(points=[made.ids[3], made.ids[58]]))
    made.ids.append(999)
    with moving(made, place) as replacement:
        changed = {999, made.ids[2], made.ids[50]} | ({made.ids[0]} if place.keeps_payload else set())
        assert {one for rows in replacement.missing() for one in rows.ids} >= changed
        assert replacement.surplus() == 2
        with pytest.raises(DataError, match="rows have no new vector"):
            replacement.cut_over()
    written, pruned, _ = move(made, place)
    assert written in (3, 4) and pruned == 2
    position, rows = there(made, place)
    assert set(position) == {str(one) for row, one in enumerate(made.ids) if row not in (3, 58)}
    assert rows.texts[position[str(made.ids[2])]] == "another text" and rows.texts[position["999"]] == "new"
    if place.keeps_payload:
        assert_same_payload({"price": rows.payload[position[str(made.ids[0])]]["price"]}, {"price": 4})
    assert move(made, place)[:2] == (0, 0)


def test_over_and_back_and_for_good(made, place):
    move(made, place)
    said = {"head": "it's 100% ünï"}
    with moving(made, place) as replacement:
        assert replacement.note() is None
        replacement.keep_note(said)
    for step, stage in (("cut_over", "cut over"), ("roll_back", "begun"), ("cut_over", "cut over")):
        with moving(made, place) as replacement:
            getattr(replacement, step)()
        with moving(made, place) as replacement:
            assert (replacement.stage(), replacement.note()) == (stage, said)
            with replacement.other() as new:
                assert new.describe().dim == WIDE
            with pytest.raises(DataError, match="cannot"):
                getattr(replacement, step)()
    with moving(made, place) as replacement:
        with pytest.raises(DataError, match="in use; roll back first"):
            replacement.give_up()
        with pytest.raises(DataError, match="no replacement has begun, or it is in use"):
            replacement.write(next(made.open().scan()), MADE[:ROWS])
        replacement.drop_old()
    with place.index(payload=["*"]) if place.keeps_payload else place.index() as index:
        rows = joined(list(index.scan()))  # with the settings that any user gives
        assert len(rows) == ROWS and not any("_alignkit_version" in payload for payload in rows.payload)
        assert [str(hits[0]) for hits in index.search(MADE[7:9], 1)[0]] == [str(one) for one in made.ids[7:9]]
        assert not any(name.startswith("_alignkit_version") for name in index.describe().fields)
    with moving(made, place) as replacement, pytest.raises(DataError, match="no migration made it"):
        replacement.stage()
    assert joined(list(made.open().scan())).vectors.shape == (ROWS, DIM)  # the old one is as it was


def test_given_up_nothing_is_left_and_it_may_begin_again(made, place):
    move(made, place)
    with moving(made, place) as replacement:
        replacement.give_up()
        replacement.give_up()
        assert replacement.stage() == "untouched"
        replacement.begin(WIDE)
        assert sum(map(len, replacement.missing())) == ROWS


@pytest.mark.parametrize("place", ["lancedb"], indirect=True)
def test_two_indexes_are_never_moved_into_one(made, place, request, tmp_path):
    move(made, place)
    other = stored("parquet", tmp_path, request)
    with moving(other, place) as replacement:
        for step in (replacement.stage, lambda: replacement.begin(WIDE), replacement.give_up):
            with pytest.raises(DataError, match="a migration of another index has begun there .*collection docs"):
                step()


def test_whole_numbers_come_back_by_their_texts(place, request, tmp_path):
    folder = tmp_path / "from"
    folder.mkdir()
    made = stored("faiss", folder, request)
    assert move(made, place)[0] == ROWS
    assert set(there(made, place)[0]) == {str(one) for one in made.ids}
    assert move(made, place)[:2] == (0, 0)


def test_texts_that_look_like_other_ids_stay_what_they_are(place, tmp_path):
    """UUIDs of another spelling, numbers, quotes: no engine may take one for another, or give it back otherwise."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    odd = ["550E8400-E29B-41D4-A716-446655440000", "550e8400e29b41d4a716446655440000", "007", "7", "-3", "1e5", "a'b"]
    odd += ['x"y', "100%s {}", " spaced ", "ünï", "urn:uuid:550e8400-e29b-41d4-a716-446655440000"]
    vectors = pa.array(unit_vectors(len(odd)).tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": odd, "body": odd, "v": vectors}), tmp_path / "odd.parquet")
    with ParquetIndex(str(tmp_path / "odd.parquet"), text="body", id="id") as index, place.new() as new:
        replacement = Elsewhere(index, new)
        replacement.begin(WIDE)
        for rows in replacement.missing():
            replacement.write(rows, MADE[: len(rows)])
        replacement.build_index()
        assert not list(replacement.missing()) and replacement.surplus() == 0
        with replacement.other() as moved:
            rows = moved.fetch(odd)
            assert (rows.ids, rows.texts) == (odd, odd)
            assert [hits[0] for hits in moved.search(MADE[: len(odd)], 1)[0]] == odd


@pytest.mark.parametrize("place", ["parquet"], indirect=True)
def test_ids_that_stand_twice_are_refused(place, tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    vectors = pa.array(unit_vectors(4).tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": ["a", "b", "a", "c"], "v": vectors}), tmp_path / "twice.parquet")
    for batch, said in ((4, "two rows have the id a"), (2, "1 ids stand twice")):
        monkeypatch.setattr(elsewhere, "_LIKE", batch)
        with ParquetIndex(str(tmp_path / "twice.parquet"), id="id") as index, place.new() as new:
            replacement = Elsewhere(index, new)
            with pytest.raises(DataError, match=said):
                replacement.begin(WIDE)
                for rows in replacement.missing(batch):
                    replacement.write(rows, MADE[: len(rows)])


@pytest.mark.parametrize("place", ["pgvector"], indirect=True)
def test_a_field_with_the_name_of_the_texts_is_refused(made, place):
    with place.new() as new:
        made.settings["client"].set_payload("docs", {new.own_fields[0]: 1}, [made.ids[0]])
    made.settings["text"] = "price"
    with moving(made, place) as replacement, pytest.raises(DataError, match="of the payload has the name that"):
        replacement.begin(WIDE)
