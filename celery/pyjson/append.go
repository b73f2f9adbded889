package pyjson

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// TypeError says that a value has no form in JSON, as kombu's EncodeError does.
type TypeError struct {
	Type string // Go type
}

func (e *TypeError) Error() string { return "Object of type " + e.Type + " is not JSON serializable" }

// Append appends v as kombu writes the corresponding Python value: json.dumps' separators and float format,
// datetime, UUID, Decimal, bytes as two-key objects. Struct fields follow their json tags; map keys are sorted.
// A time.Duration is its seconds, as Decode reads them. Raw goes in as it is. The error is a *TypeError, one of a value's own
// MarshalJSON, or says that v is nested too deeply, as what contains itself is.
func Append(dst []byte, v any) ([]byte, error) { return appendValue(dst, v, 0) }

func appendValue(dst []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case Raw:
		if len(v) == 0 {
			return append(dst, "null"...), nil
		}
		return append(dst, v...), nil
	case string:
		return AppendString(dst, v), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case float64:
		return AppendFloat(dst, v), nil
	case []any:
		return appendList(dst, v, depth)
	case []Member:
		return appendMembers(dst, v), nil
	case map[string]any:
		return appendMap(dst, v, depth)
	case time.Time:
		return appendTime(dst, v), nil
	case uuid.UUID:
		return appendUUID(dst, v), nil
	case []byte:
		return appendBytes(dst, v), nil
	case Decimal:
		return appendTypedText(dst, "decimal", string(v)), nil
	case Date:
		return appendTypedText(dst, "date", v.String()), nil
	case TimeOfDay:
		return appendTypedText(dst, "time", string(v)), nil
	case *big.Int:
		if v == nil {
			return append(dst, "null"...), nil
		}
		return v.Append(dst, 10), nil
	case big.Int:
		return v.Append(dst, 10), nil
	case json.Number:
		if !isNumber(Raw(v)) || Valid([]byte(v)) != nil {
			return dst, fmt.Errorf("write %q as JSON: it is no number", string(v))
		}
		return append(dst, v...), nil
	case time.Duration:
		if v%time.Second == 0 {
			return strconv.AppendInt(dst, int64(v/time.Second), 10), nil
		}
		return AppendFloat(dst, v.Seconds()), nil
	}
	return appendReflect(dst, reflect.ValueOf(v), depth)
}

func tooDeep(what string) error { return fmt.Errorf("write %s as JSON: nested too deeply", what) }

func appendList(dst []byte, list []any, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return dst, tooDeep("[]any")
	}
	dst = append(dst, '[')
	var err error
	for i, e := range list {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if dst, err = appendValue(dst, e, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendMembers(dst []byte, members []Member) []byte {
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(append(AppendString(dst, m.Key), ": "...), m.Value...)
	}
	return append(dst, '}')
}

func appendMap(dst []byte, m map[string]any, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return dst, tooDeep("map[string]any")
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	var err error
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if dst, err = appendValue(append(AppendString(dst, k), ": "...), m[k], depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// AppendFloat appends f as repr(float) prints it.
func AppendFloat(dst []byte, f float64) []byte { return appendFloat(dst, f, 64) }

func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, bits)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
	if slices.Contains(dst[start:], '.') {
		return dst
	}
	return append(dst, '.', '0')
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// known are the types with a form of their own in Append.
var known = map[reflect.Type]bool{
	reflect.TypeFor[Raw](): true, reflect.TypeFor[time.Time](): true, reflect.TypeFor[uuid.UUID](): true, reflect.TypeFor[[]byte](): true,
	reflect.TypeFor[Decimal](): true, reflect.TypeFor[Date](): true, reflect.TypeFor[TimeOfDay](): true, reflect.TypeFor[big.Int](): true,
	reflect.TypeFor[*big.Int](): true, reflect.TypeFor[json.Number](): true, reflect.TypeFor[[]Member](): true,
	reflect.TypeFor[time.Duration](): true, reflect.TypeFor[[]any](): true, reflect.TypeFor[map[string]any](): true,
}

func appendReflect(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return dst, tooDeep(v.Type().String())
	}
	t := v.Type()
	if known[t] {
		return appendValue(dst, v.Interface(), depth)
	}
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		switch {
		case v.IsNil():
			return append(dst, "null"...), nil
		case v.Kind() == reflect.Interface || known[t.Elem()]:
			return appendReflect(dst, v.Elem(), depth+1)
		}
	}
	if p := reflect.PointerTo(t); v.CanAddr() && !t.Implements(jsonMarshaler) && (p.Implements(jsonMarshaler) || !t.Implements(textMarshaler) && p.Implements(textMarshaler)) {
		v, t = v.Addr(), p // the methods have a pointer receiver
	}
	if t.Implements(jsonMarshaler) {
		text, err := v.Interface().(json.Marshaler).MarshalJSON()
		if err != nil {
			return dst, err
		}
		return append(dst, text...), Valid(text)
	}
	if t.Implements(textMarshaler) {
		text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return dst, err
		}
		return AppendString(dst, string(text)), nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		return appendReflect(dst, v.Elem(), depth+1)
	case reflect.Bool:
		return strconv.AppendBool(dst, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return strconv.AppendUint(dst, v.Uint(), 10), nil
	case reflect.Float32, reflect.Float64:
		return appendFloat(dst, v.Float(), t.Bits()), nil
	case reflect.String:
		return AppendString(dst, v.String()), nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return appendBytes(dst, v.Bytes()), nil
		}
		if v.IsNil() {
			return append(dst, "[]"...), nil
		}
		return appendSequence(dst, v, depth)
	case reflect.Array:
		return appendSequence(dst, v, depth)
	case reflect.Map:
		return appendReflectMap(dst, v, depth)
	case reflect.Struct:
		return appendStruct(dst, v, depth)
	}
	return dst, &TypeError{Type: t.String()}
}

func appendSequence(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	dst = append(dst, '[')
	var err error
	for i := range v.Len() {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if dst, err = appendReflect(dst, v.Index(i), depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendReflectMap(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	type entry struct {
		key   string
		value reflect.Value
	}
	entries := make([]entry, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		key, err := keyText(it.Key())
		if err != nil {
			return dst, err
		}
		entries = append(entries, entry{key, it.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	dst = append(dst, '{')
	var err error
	for i, e := range entries {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if dst, err = appendReflect(append(AppendString(dst, e.key), ": "...), e.value, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// keyText is a dict's key as json.dumps writes it.
func keyText(k reflect.Value) (string, error) {
	if k.Kind() == reflect.Interface && !k.IsNil() {
		k = k.Elem()
	}
	if k.Kind() == reflect.String {
		return k.String(), nil
	}
	if text, ok := k.Interface().(encoding.TextMarshaler); ok {
		b, err := text.MarshalText()
		return string(b), err
	}
	switch {
	case k.CanInt():
		return strconv.FormatInt(k.Int(), 10), nil
	case k.CanUint():
		return strconv.FormatUint(k.Uint(), 10), nil
	case k.CanFloat():
		return string(appendFloat(nil, k.Float(), k.Type().Bits())), nil
	case k.Kind() == reflect.Bool:
		return strconv.FormatBool(k.Bool()), nil
	}
	return "", &TypeError{Type: "map with keys " + k.Type().String()}
}

func appendStruct(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	dst = append(dst, '{')
	first := true
	for _, f := range FieldsOf(v.Type()) {
		fv, err := v.FieldByIndexErr(f.Index)
		if err != nil || f.Omitted(fv) {
			continue // a nil embedded pointer has no fields
		}
		if !first {
			dst = append(dst, ", "...)
		}
		first = false
		if dst, err = appendReflect(append(AppendString(dst, f.Name), ": "...), fv, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}
