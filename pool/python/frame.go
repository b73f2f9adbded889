package python

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A frame is u32 length | u8 kind | body, big endian; length counts the body. py/wire.py is the other side.
const (
	frameHead       = 5
	maxFrame        = 1 << 30 // bytes of a body
	protocolVersion = 1
)

type kind byte

const (
	kindHello  kind = iota + 1 // zygote, child → us: JSON; it is ready
	kindFailed                 // zygote → us: JSON; the application could not be loaded
	kindFork                   // us → zygote: u32 request, u32 slot; with channel, lifeline and output as descriptors
	kindForked                 // zygote → us: u32 request, u32 pid, i32 errno
	kindExited                 // zygote → us: u32 pid, i32 code, i32 signal; the process is a zombie until we say reap
	kindReap                   // us → zygote: u32 pid
	kindReaped                 // zygote → us: u32 pid, u64 highest resident memory
	kindEvent                  // us → zygote: JSON; a signal of Celery's parent process is to be sent
	kindQuit                   // us → zygote, child; to a child that may linger (child.py) with a body
	kindAsk                    // us → zygote: u32 request, JSON; py/questions.py answers
	kindAnswer                 // zygote → us: u32 request, JSON
	kindHeard                  // zygote → us: the receivers of an event have returned
)

const (
	kindRun    kind = iota + 16 // us → child: u64 tag, u8 flags, u32 length, JSON of that length, envelope
	kindDone                    // child → us: see parseDone
	kindCancel                  // us → child: u64 tag, u8 signal, u8 1 if the child is not to end by itself; followed by that signal
	kindStore                   // child → us: u32 length, u32 length, key, document; the child waits
	kindStored                  // us → child: empty, or what went wrong
	kindLeave                   // child → us: the task ends the process; what its result is to say
)

// ErrFrameTooLarge says that a frame claims to be larger than any frame may be.
var ErrFrameTooLarge = errors.New("frame too large")

// ErrMalformed says that a frame does not hold what its kind asks for.
var ErrMalformed = errors.New("malformed frame")

// readFrame reads the next frame into memory of its own. io.EOF means that the stream ended between frames.
func readFrame(r *bufio.Reader, limit int) (kind, []byte, error) {
	head, err := r.Peek(frameHead)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	length, k := binary.BigEndian.Uint32(head), kind(head[4])
	if int64(length) > int64(limit) {
		return 0, nil, fmt.Errorf("%w: kind %d, %d bytes of at most %d", ErrFrameTooLarge, k, length, limit)
	}
	if _, err := r.Discard(frameHead); err != nil {
		return 0, nil, err
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return k, body, nil
}

// appendFrame appends the head of a frame of size bytes, and then the parts of its body that are given.
func appendFrame(b []byte, k kind, size int, parts ...[]byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = append(b, byte(k))
	for _, part := range parts {
		b = append(b, part...)
	}
	return b
}

// words reads n big endian u32 from the front of a body that must have exactly that size.
func words(body []byte, n int) ([]uint32, error) {
	if len(body) != 4*n {
		return nil, fmt.Errorf("%w: %d bytes instead of %d", ErrMalformed, len(body), 4*n)
	}
	w := make([]uint32, n)
	for i := range w {
		w[i] = binary.BigEndian.Uint32(body[4*i:])
	}
	return w, nil
}
