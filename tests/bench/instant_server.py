"""A process that answers every embedding request at once with the same 32 vectors of 3,584 numbers.

Run by itself, so that its work is not counted as the client's. Prints its port.
"""

import asyncio
import base64
import json

import numpy as np

ROWS, DIM = 32, 3584


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def bodies() -> tuple[bytes, bytes, bytes]:
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # as Go and C++ print a float32: the shortest digits that give it back
    rows = ",".join("[" + ",".join(map(str, vector)) + "]" for vector in vectors)
    packed = [
        {"object": "embedding", "index": index, "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode()}
        for index, vector in enumerate(vectors)
    ]
    tags = {"models": [{"name": "tiny:latest", "digest": "d"}], "version": "0", "data": [{"id": "tiny"}]}
    return (
        answer(f'{{"model":"tiny","embeddings":[{rows}]}}'.encode()),
        answer(json.dumps({"data": packed}).encode()),
        answer(json.dumps(tags).encode()),
    )


async def main() -> None:
    as_json, as_base64, about = bodies()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0"
                )
                await reader.readexactly(int(length.split(b":")[1]))
                found = as_json if b"/api/embed " in head else as_base64 if b"/v1/embeddings " in head else about
                writer.write(found)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**22)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
