"""A port of this machine that answers the same bytes to everything."""

import contextlib
import socket
import threading

from waiting import HANG_S


@contextlib.contextmanager
def listening(reply=b"", hold=False):
    """A port that answers everything with the same bytes."""
    # each connection is closed after one answer; a client that isn't told so may send its next request into the closing
    head, end, body = reply.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1") and b"connection: close" not in head.lower():
        reply = head + b"\r\nConnection: close" + end + body
    stop = threading.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        listener.settimeout(0.05)
        open_ones = []

        def serve():
            while not stop.is_set():
                with contextlib.suppress(TimeoutError, OSError):
                    peer, _ = listener.accept()
                    open_ones.append(peer)
                    if not hold:
                        peer.settimeout(HANG_S)
                        with contextlib.suppress(OSError):
                            peer.recv(65536)
                            peer.sendall(reply)
                            # closing with a part of the request unread would reset the connection, reply and all
                            peer.shutdown(socket.SHUT_WR)
                            while peer.recv(65536):
                                pass
                        peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()
            for peer in open_ones:
                peer.close()
