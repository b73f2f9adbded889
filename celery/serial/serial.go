// Package serial turns message bodies of kombu's serializers into JSON text and back, so that the rest of the
// program knows one form only. Bytes, times and other types that msgpack and yaml have of their own become kombu's
// typed JSON objects (package pyjson). pickle is refused: to read it is to run the sender's code.
//
// Package celery and the executors call it. It does no I/O.
package serial

import (
	"errors"
	"fmt"

	"github.com/agensium/agensium/celery/pyjson"
)

// ErrPickle is the refusal of pickled content.
var ErrPickle = errors.New("pickle is not read here: it would run the sender's code; send the task as json, msgpack or yaml")

// ErrUnknown is the kind of the errors about a content type that nobody knows.
var ErrUnknown = errors.New("unknown content type")

// Format is one of kombu's serializers.
type Format struct {
	Name        string
	ContentType string
	Encoding    string // content-encoding of messages
	decode      func([]byte) ([]byte, error)
	encode      func([]byte) ([]byte, error)
}

var formats = [...]Format{
	{"json", "application/json", "utf-8", checked, same},
	{"msgpack", "application/x-msgpack", "binary", unpack, pack},
	{"yaml", "application/x-yaml", "utf-8", fromYAML, toYAML},
}

// ByName finds a serializer by the name that settings and options use. Empty means json.
func ByName(name string) (Format, bool) {
	if name == "" {
		return formats[0], true
	}
	for _, f := range formats {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}

// ByContentType finds the serializer of a message. The error is ErrPickle or of kind ErrUnknown.
func ByContentType(contentType string) (Format, error) {
	for _, f := range formats {
		if f.ContentType == contentType {
			return f, nil
		}
	}
	if contentType == "application/x-python-serialize" || contentType == "application/x-python-serialise" {
		return Format{}, ErrPickle
	}
	return Format{}, fmt.Errorf("%w %q", ErrUnknown, contentType)
}

// Decode returns body, which is in format f, as JSON text that has been checked.
func (f Format) Decode(body []byte) ([]byte, error) {
	text, err := f.decode(body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name, err)
	}
	return text, nil
}

// Encode returns JSON text in format f.
func (f Format) Encode(text []byte) ([]byte, error) { return f.encode(text) }

func same(text []byte) ([]byte, error) { return text, nil }

func checked(text []byte) ([]byte, error) { return text, pyjson.Valid(text) }
