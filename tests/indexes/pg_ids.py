"""Keys of PostgreSQL, of the types that tables have, in no special order."""

import uuid

KEYS = [
    ("smallint", [-3, 0, 2, 30]),
    ("text", ["", "B", "a", "Ä'; --"]),
    ("varchar(9)", ["a", "b", "c", "d"]),
    ("char(4)", ["a   ", "b   ", "c   ", "dd  "]),
    ("uuid", [str(uuid.UUID(int=number)) for number in range(4)]),
    ("numeric", ["-1.5", "0", "2.25", "1e30"]),
    ("timestamptz", [f"2024-0{month}-01 12:00:00.123456+02" for month in range(1, 5)]),
    ("date", ["2024-01-01", "2024-01-02", "2025-01-01", "infinity"]),
    ("bytea", [b"\x00", b"\x01a", b"\xff", b"\xff\x00"]),
    ("boolean", [False, True]),
    ("double precision", [-1.5, 0.1, 2.0, 3e300]),
    ("inet", ["10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.0.1"]),
    ("interval", ["1 day", "2 days", "1 month", "1 year"]),
    ("int[]", ["{1,2}", "{2}", "{1}", "{}"]),
    ("jsonb", ['{"a": 1}', '"b"', "[1]", "2"]),
    ("money", ["1.50", "-2", "1000000", "0"]),
    ('"char"', ["a", "b", "c", "d"]),
]
