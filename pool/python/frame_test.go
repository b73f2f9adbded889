package python

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery"
)

func sprint(v any) string { return fmt.Sprint(v) }

func TestFrameIsRefusedBeforeItIsAllocated(t *testing.T) {
	r := bufio.NewReader(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, byte(kindDone)}))
	if _, _, err := readFrame(r, maxFrame); !errors.Is(err, ErrFrameTooLarge) {
		t.Error(err)
	}
}

func TestFramesAreReadWhole(t *testing.T) {
	stream := appendFrame(appendFrame(nil, kindQuit, 0), kindStored, 2, []byte("no"))
	r := bufio.NewReader(bytes.NewReader(stream[:len(stream)-1]))
	if k, body, err := readFrame(r, 10); k != kindQuit || len(body) > 0 || err != nil {
		t.Error(k, body, err)
	}
	if _, _, err := readFrame(r, 10); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestDone(t *testing.T) {
	body := []byte{0, 0, 0, 0, 0, 0, 0, 9, 2, 0, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 1, 0, 0, 0, 13,
		0, 0, 0, 1, 0, 0, 0, 2, 'k', '{', '}'}
	body = append(body, `{"exc":"E()"}`...)
	tag, out, err := parseDone(body)
	want := celery.Outcome{State: celery.StateFailure, Runtime: 5e8, MaxRSS: 1024, Exception: "E()",
		Results: []celery.Result{{Key: "k", Document: []byte("{}")}}}
	if diff := cmp.Diff(want, out); tag != 9 || err != nil || diff != "" {
		t.Error(tag, err, diff)
	}
}

// FuzzFrames feeds a child's side of the channel to the reader: whatever comes is an outcome or one of two errors,
// and takes no more memory than the bytes that came.
func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(nil, kindDone, doneHead, make([]byte, doneHead)))
	f.Add(appendFrame(nil, kindStore, 11, []byte{0, 0, 0, 1, 0, 0, 0, 2, 'k', '{', '}'}))
	f.Add([]byte{0x40, 0, 0, 1, 17})
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bufio.NewReader(bytes.NewReader(stream))
		for {
			k, body, err := readFrame(r, 1<<16)
			if err != nil {
				if !errors.Is(err, ErrFrameTooLarge) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				return
			}
			switch k {
			case kindDone:
				if _, out, err := parseDone(body); err == nil && out.State == "" || err != nil && !errors.Is(err, ErrMalformed) {
					t.Fatal(out, err)
				}
			case kindStore:
				if _, rest, err := parseResult(body); err != nil && !errors.Is(err, ErrMalformed) || len(rest) > len(body) {
					t.Fatal(err)
				}
			}
		}
	})
}
