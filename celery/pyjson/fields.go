package pyjson

import (
	"reflect"
	"strings"
	"sync"
)

// Field is an exported struct field under its name in JSON.
type Field struct {
	Name      string
	Index     []int
	Type      reflect.Type
	OmitEmpty bool
	Tag       reflect.StructTag
}

var fieldCache sync.Map // reflect.Type → []Field

// FieldsOf lists the fields of struct type t as encoding/json names them: `json` tags, else the field's name.
// Fields of an embedded struct without tag count as its own.
func FieldsOf(t reflect.Type) []Field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.([]Field)
	}
	var fields []Field
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Tag.Get("json") == "-" || f.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		omit := false
		for option := range strings.SplitSeq(options, ",") {
			omit = omit || option == "omitempty" || option == "omitzero"
		}
		fields = append(fields, Field{Name: name, Index: f.Index, Type: f.Type, OmitEmpty: omit, Tag: f.Tag})
	}
	cached, _ := fieldCache.LoadOrStore(t, fields)
	return cached.([]Field)
}
