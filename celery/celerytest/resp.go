package celerytest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

var errNotRESP = errors.New("not RESP")

// readCommand reads one command and returns it as it came, and its arguments.
func readCommand(in *bufio.Reader) (raw []byte, args []string, err error) {
	raw, n, err := readHead(in, nil, '*')
	if err != nil {
		return nil, nil, err
	}
	for range n {
		var size int
		if raw, size, err = readHead(in, raw, '$'); err != nil {
			return nil, nil, err
		}
		start := len(raw)
		if raw, err = readN(in, raw, size+2); err != nil {
			return nil, nil, err
		}
		args = append(args, string(raw[start:start+size]))
	}
	if len(args) == 0 {
		return nil, nil, errNotRESP
	}
	return raw, args, nil
}

// readReply reads one RESP2 reply and returns it as it came.
func readReply(in *bufio.Reader) ([]byte, error) { return appendReply(in, nil) }

func appendReply(in *bufio.Reader, raw []byte) ([]byte, error) {
	kind, err := in.Peek(1)
	if err != nil {
		return nil, err
	}
	switch kind[0] {
	case '+', '-', ':':
		line, err := in.ReadSlice('\n')
		return append(raw, line...), err
	case '$':
		raw, n, err := readHead(in, raw, '$')
		if err != nil || n < 0 {
			return raw, err
		}
		return readN(in, raw, n+2)
	case '*':
		raw, n, err := readHead(in, raw, '*')
		for i := 0; i < n && err == nil; i++ {
			raw, err = appendReply(in, raw)
		}
		return raw, err
	}
	return nil, errNotRESP
}

// readHead reads a line such as *3 or $-1.
func readHead(in *bufio.Reader, raw []byte, kind byte) ([]byte, int, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, 0, err
	}
	if len(line) < 4 || line[0] != kind {
		return nil, 0, fmt.Errorf("%w: %q", errNotRESP, line)
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	return append(raw, line...), n, err
}

func readN(in *bufio.Reader, raw []byte, n int) ([]byte, error) {
	start := len(raw)
	raw = append(raw, make([]byte, n)...)
	_, err := io.ReadFull(in, raw[start:])
	return raw, err
}
