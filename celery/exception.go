package celery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"time"

	"github.com/agensium/agensium/celery/pyjson"
)

// Exception is a failure as results carry it: what Python makes an exception of again (protocol notes C.5).
type Exception struct {
	Type   string // __qualname__
	Module string
	Args   pyjson.Raw // array
}

// AppendJSON appends the exception as a result's value.
func (e Exception) AppendJSON(dst []byte) []byte {
	dst = pyjson.AppendString(append(dst, `{"exc_type": `...), e.Type)
	dst = append(append(dst, `, "exc_message": `...), e.Args...)
	dst = append(dst, `, "exc_module": `...)
	if e.Module == "" {
		return append(dst, "null}"...)
	}
	return append(pyjson.AppendString(dst, e.Module), '}')
}

// Repr is the exception's repr in Python.
func (e Exception) Repr() string {
	return pyjson.ExceptionRepr(e.Type[strings.LastIndexByte(e.Type, '.')+1:], e.Args)
}

// LastLine is the last line of the exception's traceback in Python.
func (e Exception) LastLine() string {
	name := e.Type
	if e.Module != "" && e.Module != "builtins" {
		name = e.Module + "." + e.Type
	}
	text := pyjson.ExceptionText(e.Args)
	switch parts, err := pyjson.Elements(nil, e.Args); {
	case err != nil:
	case e.Type == "KeyError" && len(parts) == 1:
		text = pyjson.FullRepr(parts[0]) // the one builtin of Python whose text is a repr
	case e.Type == "CalledProcessError" && e.Module == "subprocess" && len(parts) >= 2:
		text = fmt.Sprintf("Command %s returned non-zero exit status %s.", pyjson.FullRepr(parts[1]), parts[0])
	case e.Type == "SoftTimeLimitExceeded" && e.Module == "billiard.exceptions":
		text = e.Type + pyjson.Tuple(e.Args) // as its __str__
	}
	if text != "" {
		return name + ": " + text
	}
	return name
}

// NewException makes an exception of a class, which may stand with its module ("billiard.exceptions.TimeLimitExceeded"),
// and its arguments. An argument without JSON is replaced by its Go form, as Python puts its repr there.
func NewException(class string, args ...any) Exception {
	e := Exception{Type: class, Module: "builtins"}
	if i := strings.LastIndexByte(class, '.'); i >= 0 {
		e.Module, e.Type = class[:i], class[i+1:]
	}
	list := []byte{'['}
	for i, a := range args {
		if i > 0 {
			list = append(list, ", "...)
		}
		with, err := pyjson.Append(list, a)
		if err != nil {
			with = pyjson.AppendString(list, fmt.Sprint(a))
		}
		list = with
	}
	e.Args = append(list, ']')
	return e
}

// Error is an error that becomes an exception of a class of the application's own choice.
type Error struct {
	Exception Exception
	Err       error // what it came from; may be nil
}

// Raise makes an error that Python sees as class(*args): Raise("ValueError", "no such order", 42). A class without a
// module is one of Python's builtins; one that Python cannot find is made there.
func Raise(class string, args ...any) *Error { return &Error{Exception: NewException(class, args...)} }

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Exception.LastLine() + ": " + e.Err.Error()
	}
	return e.Exception.LastLine()
}

func (e *Error) Unwrap() error { return e.Err }

// PanicError is a handler's panic.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// The errors with which a handler ends in another way than success or failure.
var (
	errIgnore = errors.New("ignored by the task")

	// ErrSoftLimit is the cause with which a handler's context is cancelled at the soft time limit.
	ErrSoftLimit = errors.New("soft time limit reached")
)

// Ignore returns the error with which a handler says that its outcome is of no interest: nothing is stored, and nothing follows.
// As in Celery a chord with the task in its header never ends.
func Ignore() error { return errIgnore }

// RejectError is the error of [Reject].
type RejectError struct {
	Requeue bool
}

func (e *RejectError) Error() string {
	return fmt.Sprintf("rejected by the task, requeue=%t", e.Requeue)
}

// Reject returns the error with which a handler refuses its message: it is dropped, or goes to the back of its queue.
// As in Celery a message goes back only if its task is acknowledged late ([AcksLate]). Of one that does not, the result is the
// failure Reject, as since Celery 5.7.
func Reject(requeue bool) error { return &RejectError{Requeue: requeue} }

// RetryError is the error of [Retry].
type RetryError struct {
	Err   error         // why; may be nil
	After time.Duration // negative: the task's own delay
}

func (e *RetryError) Error() string {
	if e.Err == nil {
		return "retry"
	}
	return "retry: " + e.Err.Error()
}

func (e *RetryError) Unwrap() error { return e.Err }

// Retry returns the error with which a handler asks to be run again with the same arguments, after a delay;
// negative means the delay of the task's [RetryDelay]. When its retries are used up the task fails with err.
func Retry(err error, after time.Duration) error { return &RetryError{Err: err, After: after} }

// ExceptionOf says what Python sees of an error: what Raise made, TypeError for arguments, TimeoutError and
// PermissionError where they fit, else a class with the name of the error's Go type, or RuntimeError for errors that
// are only text.
func ExceptionOf(err error) Exception {
	var (
		raised *Error
		bind   *BindError
		result *resultError
		panicd *PanicError
	)
	switch {
	case errors.As(err, &raised):
		return raised.Exception
	case errors.As(err, &bind):
		return NewException("TypeError", bind.Error())
	case errors.As(err, &result):
		return NewException("kombu.exceptions.EncodeError", result.err.Error())
	case errors.As(err, &panicd):
		return NewException("agensium.Panic", fmt.Sprint(panicd.Value))
	case errors.Is(err, ErrSoftLimit):
		return NewException("billiard.exceptions.SoftTimeLimitExceeded")
	case errors.Is(err, context.DeadlineExceeded):
		return NewException("TimeoutError", err.Error())
	case errors.Is(err, fs.ErrNotExist):
		return NewException("FileNotFoundError", err.Error())
	case errors.Is(err, fs.ErrPermission):
		return NewException("PermissionError", err.Error())
	}
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.PkgPath() {
	case "errors", "fmt", "":
		return NewException("RuntimeError", err.Error())
	}
	e := NewException("Exception", err.Error())
	e.Type, e.Module = t.Name(), strings.ReplaceAll(t.PkgPath(), "/", ".")
	return e
}

// Ignores tells whether err is what [Ignore] returns.
func Ignores(err error) bool { return errors.Is(err, errIgnore) }
