// Package pyjson is JSON as Python's json module and kombu write and read it: ASCII only, ", " and ": " as
// separators, floats as Python prints them, bare NaN and Infinity, integers without bound, lone surrogates, and
// kombu's two-key objects {"__type__", "__value__"} for what JSON has no word for (protocol notes A.5).
//
// Values that only pass through stay [json.RawMessage]: nothing is lost in a number or an unknown type.
// Package celery and the result backend use it for arguments, results and messages. It does no I/O and holds no state.
package pyjson
