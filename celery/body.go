package celery

import (
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/agensium/agensium/celery/pyjson"
)

// maxBody bounds what a compressed body may become, since a message of a kilobyte can unfold to gigabytes.
const maxBody = 256 << 20

// UnsupportedError is a body that only Python can open.
type UnsupportedError struct {
	What string // "compression application/x-lzma"
}

func (e *UnsupportedError) Error() string { return e.What + " is not supported here" }

// Body returns the body of a message as its serializer wrote it: without base64 and compression (protocol notes A.6).
// The error is an [*UnsupportedError] for compressions other than zlib (Celery's "gzip" and "zlib") and bzip2, else a
// [*DecodeError].
func Body(raw []byte) ([]byte, error) {
	l, err := survey(raw)
	if err != nil {
		return nil, err
	}
	defer layouts.Put(l)
	return l.openBody(raw)
}

func (l *layout) openBody(raw []byte) ([]byte, error) {
	text := func(v span) string { return newReader(raw, v).string(v) }
	body, err := decodeBody(raw, l.body, text(l.properties.bodyEncoding))
	if err != nil {
		return nil, err
	}
	return decompress(body, text(l.headers.compression))
}

func decodeBody(raw []byte, at span, encoding string) ([]byte, error) {
	if !isString(raw, at) {
		return nil, &DecodeError{Cause: CauseUndecodable, Detail: "its body is not a string"}
	}
	body := at.of(raw)[1:]
	body = body[:len(body)-1]
	if bytes.IndexByte(body, '\\') >= 0 {
		body = []byte(pyjson.Text(body))
	}
	switch encoding {
	case "base64":
		plain := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
		n, err := base64.StdEncoding.Decode(plain, body)
		if err != nil {
			return nil, &DecodeError{Cause: CauseUndecodable, Detail: "its body is not base64: " + err.Error()}
		}
		return plain[:n], nil
	case "", "utf-8":
		return bytes.Clone(body), nil
	}
	return nil, &UnsupportedError{What: fmt.Sprintf("body encoding %q", encoding)}
}

func decompress(body []byte, mime string) ([]byte, error) {
	var in io.Reader
	switch mime {
	case "":
		return body, nil
	case "application/x-gzip": // a zlib stream in spite of its name
		z, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, badCompression(mime, err)
		}
		in = z
	case "application/x-bz2":
		in = bzip2.NewReader(bytes.NewReader(body))
	default:
		return nil, &UnsupportedError{What: "compression " + mime}
	}
	plain, err := io.ReadAll(io.LimitReader(in, maxBody+1))
	if err == nil && len(plain) > maxBody {
		err = errors.New("larger than 256 MiB")
	}
	if err != nil {
		return nil, badCompression(mime, err)
	}
	return plain, nil
}

func badCompression(mime string, err error) error {
	return &DecodeError{Cause: CauseUndecodable, Detail: fmt.Sprintf("its body is not %s: %v", mime, err)}
}
