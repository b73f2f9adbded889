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
		if err := readable(t.Key(), seen); err != nil {
			return err
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
