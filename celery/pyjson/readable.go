package pyjson

import (
	"fmt"
	"reflect"
)

// Readable tells whether Decode can ever read something into a value of type t. The error names the type that it cannot.
func Readable(t reflect.Type) error { return readable(t, map[reflect.Type]bool{}) }

func readable(t reflect.Type, seen map[reflect.Type]bool) error {
	if seen[t] {
		return nil
	}
	seen[t] = true
	if IsScalar(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return readable(t.Elem(), seen)
	case reflect.Map:
		if k := t.Key(); !isKey(k) && !reflect.PointerTo(k).Implements(textUnmarshaler) || k.Kind() == reflect.Interface && k.NumMethod() > 0 {
			return fmt.Errorf("no key of a dict in a message becomes a %s", k)
		}
		return readable(t.Elem(), seen)
	case reflect.Struct:
		for _, f := range FieldsOf(t) {
			if err := readable(f.Type, seen); err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
		}
		return nil
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return nil
		}
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
	default:
		return nil
	}
	return fmt.Errorf("nothing in a message becomes a %s", t)
}

// Writable tells whether Append can ever write a value of type t. The error names the type that it cannot.
func Writable(t reflect.Type) error { return writable(t, map[reflect.Type]bool{}) }

func writable(t reflect.Type, seen map[reflect.Type]bool) error {
	if seen[t] || known[t] || t.Implements(jsonMarshaler) || t.Implements(textMarshaler) {
		return nil
	}
	seen[t] = true
	if p := reflect.PointerTo(t); p.Implements(jsonMarshaler) || p.Implements(textMarshaler) {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return writable(t.Elem(), seen)
	case reflect.Map:
		if k := t.Key(); !isKey(k) && !k.Implements(textMarshaler) {
			return fmt.Errorf("a %s is no key of a dict", k)
		}
		return writable(t.Elem(), seen)
	case reflect.Struct:
		for _, f := range FieldsOf(t) {
			if err := writable(f.Type, seen); err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
		}
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return &TypeError{Type: t.String()}
	}
	return nil
}

// isKey tells whether both Append and Decode make a dict's key of a value of type t.
func isKey(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() == reflect.Interface || t.Kind() >= reflect.Bool && t.Kind() <= reflect.Float64
}
