package pyjson

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Field is an exported struct field under its name in JSON.
type Field struct {
	Name      string
	Index     []int
	Type      reflect.Type
	OmitEmpty bool
	OmitZero  bool
	Tag       reflect.StructTag
}

// Omitted tells whether value, the field's, is left out of what is written. Unlike encoding/json, omitempty leaves out structs
// that are zero.
func (f *Field) Omitted(value reflect.Value) bool {
	if !f.OmitEmpty && !f.OmitZero {
		return false
	}
	switch value.Kind() {
	case reflect.Slice, reflect.Map, reflect.Array:
		if f.OmitEmpty && value.Len() == 0 {
			return true
		}
	}
	return value.IsZero()
}

var fieldCache sync.Map // reflect.Type → []Field

// FieldsOf lists the fields of struct type t as encoding/json names them: `json` tags, else the field's name; fields of
// an embedded struct without tag count as its own, and the less deeply embedded of two with one name hides the other.
func FieldsOf(t reflect.Type) []Field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.([]Field)
	}
	fields := visible(collect(nil, t, nil, nil))
	cached, _ := fieldCache.LoadOrStore(t, fields)
	return cached.([]Field)
}

// collect appends the fields of t, which is embedded at index inside of the types in path.
func collect(fields []Field, t reflect.Type, index []int, path []reflect.Type) []Field {
	if slices.Contains(path, t) {
		return fields
	}
	path = append(path, t)
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		at := append(index[:len(index):len(index)], i)
		name, options, _ := strings.Cut(tag, ",")
		if inner := structOf(f.Type); f.Anonymous && name == "" && inner != nil {
			if f.IsExported() || f.Type.Kind() == reflect.Struct { // a nil pointer to an unexported struct could not be set
				fields = collect(fields, inner, at, path)
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		field := Field{Name: name, Index: at, Type: f.Type, Tag: f.Tag}
		for option := range strings.SplitSeq(options, ",") {
			field.OmitEmpty = field.OmitEmpty || option == "omitempty"
			field.OmitZero = field.OmitZero || option == "omitzero"
		}
		fields = append(fields, field)
	}
	return fields
}

// structOf is the struct type whose fields an embedded field of type t stands for, or nil.
func structOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || IsScalar(t) {
		return nil
	}
	return t
}

// visible leaves out what is hidden by a field of the same name.
func visible(fields []Field) (kept []Field) {
	for i, f := range fields {
		hidden := false
		for j, other := range fields {
			if i == j || other.Name != f.Name {
				continue
			}
			if d := len(other.Index) - len(f.Index); d < 0 || d == 0 && (other.Tag.Get("json") != "" || f.Tag.Get("json") == "") {
				hidden = true
			}
		}
		if !hidden {
			kept = append(kept, f)
		}
	}
	return kept
}
