"""Frames: u32 length | u8 kind | body, big endian; length counts the body. The Go side is frame.go."""
import json
import os
import socket
import struct

VERSION = 1
LIMIT = 1 << 30

HELLO, FAILED, FORK, FORKED, EXITED, REAP, REAPED, EVENT, QUIT, ASK, ANSWER, HEARD = range(1, 13)
RUN, DONE, CANCEL, STORE, STORED, LEAVE = range(16, 22)

HEADER = struct.Struct('>IB')
FORKING = struct.Struct('>II')    # request, slot
FORKED_AS = struct.Struct('>IIi')  # request, pid, errno
EXIT = struct.Struct('>Iii')      # pid, exit code or -1, signal or 0
PID = struct.Struct('>I')
USAGE = struct.Struct('>IQ')      # pid, highest resident memory in bytes
SIGNAL = struct.Struct('>QBB')    # tag, signal, whether it is the last: see Child.exit


class Closed(Exception):
    """The supervisor closed the channel."""


class Channel:
    """Whole frames over a stream socket."""

    def __init__(self, fd):
        self.sock = socket.socket(fileno=fd)
        self.sock.setblocking(True)
        self.buffer = bytearray(1 << 16)
        self.view = memoryview(self.buffer)
        self.start = self.end = 0  # what is read and not yet taken

    def read(self):
        """Returns kind and body of the next frame; the body is valid until the next call."""
        recv_into, view, header = self.sock.recv_into, self.view, HEADER.size
        start, end = self.start, self.end
        if start == end:
            start = end = self.start = self.end = 0
        while end - start < header:
            if start and len(view) - start < header:
                view[:end - start] = bytes(view[start:end])
                start, end = 0, end - start
            n = recv_into(view[end:])
            if not n:
                raise Closed
            end += n
            self.start, self.end = start, end
        length, kind = HEADER.unpack_from(view, start)
        if length > LIMIT:
            raise ValueError('frame of %d bytes' % length)
        start += header
        if end - start >= length:
            self.start, self.end = start + length, end
            return kind, view[start:start + length]
        body = memoryview(bytearray(length))
        have = end - start
        body[:have] = view[start:end]
        self.start = self.end = 0
        while have < length:
            n = recv_into(body[have:])
            if not n:
                raise Closed
            have += n
        return kind, body

    def send(self, kind, *parts):
        length = sum(map(len, parts))
        if length < 1 << 16:
            self.sock.sendall(HEADER.pack(length, kind) + b''.join(parts))
            return
        self.sock.sendall(HEADER.pack(length, kind))
        for part in parts:
            self.sock.sendall(part)

    def send_json(self, kind, value):
        self.send(kind, json.dumps(value, default=repr).encode('utf-8', 'backslashreplace'))

    def take_signals(self):
        """Reads what came without waiting and yields tag, signal and last of each cancel frame. For the signal handlers."""
        if self.start == self.end:
            self.start = self.end = 0
        try:
            self.end += self.sock.recv_into(self.view[self.end:], 0, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            pass
        while self.end - self.start >= HEADER.size + SIGNAL.size:
            length, kind = HEADER.unpack_from(self.view, self.start)
            if kind != CANCEL:
                return
            asked = SIGNAL.unpack_from(self.view, self.start + HEADER.size)
            self.start += HEADER.size + length
            yield asked


class FileChannel(Channel):
    """A channel over which file descriptors come as well."""

    def __init__(self, fd):
        super().__init__(fd)
        self.files = []
        self.pending = bytearray()

    def read(self):
        while True:
            if len(self.pending) >= HEADER.size:
                length, kind = HEADER.unpack_from(self.pending)
                end = HEADER.size + length
                if len(self.pending) >= end:
                    body = bytes(self.pending[HEADER.size:end])
                    del self.pending[:end]
                    return kind, body
            data, ancillary, _, _ = self.sock.recvmsg(1 << 16, socket.CMSG_SPACE(64 * 4))
            if not data:
                raise Closed
            self.pending += data
            for level, kind, payload in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self.files.extend(struct.unpack('%di' % (len(payload) // 4), payload[:len(payload) // 4 * 4]))

    def take_files(self, count):
        taken, self.files = self.files[:count], self.files[count:]
        for fd in taken:
            os.set_inheritable(fd, False)
        return taken

    @property
    def ready(self):
        """Whether a whole frame is here already."""
        return len(self.pending) >= HEADER.size and \
            len(self.pending) >= HEADER.size + HEADER.unpack_from(self.pending)[0]
