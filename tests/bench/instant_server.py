"""A process that answers every embedding request at once, each text with one of 32 vectors of 3,584 numbers.

Run by itself, so that its work is not counted as the client's. Prints its port.
"""

import asyncio
import base64
import json
import zlib

import numpy as np

ROWS, DIM = 32, 3584


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def written() -> tuple[list[bytes], list[bytes]]:
    """The vectors as JSON and as base64."""
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # as Go and C++ print a float32: the shortest digits that give it back
    as_json = [f"[{','.join(map(str, vector))}]".encode() for vector in vectors]
    return as_json, [b'"%s"' % base64.b64encode(vector.astype("<f4").tobytes()) for vector in vectors]


async def main() -> None:
    as_json, as_base64 = written()
    tags = {"models": [{"name": "tiny:latest", "digest": "d"}], "version": "0", "data": [{"id": "tiny"}]}

    def found(head: bytes, body: bytes) -> bytes:
        texts = json.loads(body or "{}").get("input", ())
        rows = [zlib.crc32(text.encode()) % ROWS for text in texts]  # a text has the same vector every time
        if b"/api/embed " in head:
            return b'{"model":"tiny","embeddings":[%s]}' % b",".join(as_json[row] for row in rows)
        if b"/v1/embeddings " in head:
            items = [
                b'{"object":"embedding","index":%d,"embedding":%s}' % (index, as_base64[row])
                for index, row in enumerate(rows)
            ]
            return b'{"data":[%s]}' % b",".join(items)
        return json.dumps(tags).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0"
                )
                writer.write(answer(found(head, await reader.readexactly(int(length.split(b":")[1])))))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**22)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
