package pyjson

import (
	"encoding"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// MismatchError says that a value does not fit the Go type it was read into.
type MismatchError struct {
	Path string // where in the value: ".items[3]"; empty at its top
	Want string // in Python's words
	Got  string
}

func (e *MismatchError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("must be %s, not %s", e.Want, e.Got)
	}
	return fmt.Sprintf("%s must be %s, not %s", e.Path, e.Want, e.Got)
}

// Decode reads raw, one checked value, into target, a pointer. kombu's typed objects become time.Time, uuid.UUID,
// Decimal, Date, TimeOfDay and []byte; an interface takes nil, bool, int64, *big.Int, float64, string, []any,
// map[string]any or one of those. An int is never made of a float with a fraction, nor anything of a string but
// text types. Times without offset are of zone loc. The error is a *MismatchError or one of the target's own.
func Decode(raw Raw, target any, loc *time.Location) error {
	d := decoder{loc: loc}
	return d.value(raw, reflect.ValueOf(target).Elem(), "")
}

// DecodeValue is Decode into a settable reflect.Value.
func DecodeValue(raw Raw, target reflect.Value, loc *time.Location) error {
	d := decoder{loc: loc}
	return d.value(raw, target, "")
}

// Any reads raw, one checked value, as Decode does into an interface.
func Any(raw Raw, loc *time.Location) (any, error) {
	d := decoder{loc: loc}
	return d.any(raw, "")
}

type decoder struct {
	loc *time.Location
}

var (
	rawType         = reflect.TypeFor[Raw]()
	timeType        = reflect.TypeFor[time.Time]()
	durationType    = reflect.TypeFor[time.Duration]()
	uuidType        = reflect.TypeFor[uuid.UUID]()
	decimalType     = reflect.TypeFor[Decimal]()
	dateType        = reflect.TypeFor[Date]()
	todType         = reflect.TypeFor[TimeOfDay]()
	bigType         = reflect.TypeFor[big.Int]()
	numberType      = reflect.TypeFor[json.Number]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (d *decoder) value(raw Raw, v reflect.Value, path string) error {
	raw = trim(raw)
	t := v.Type()
	switch v.Kind() {
	case reflect.Pointer:
		if isNull(raw) {
			v.SetZero()
			return nil
		}
		p := reflect.New(t.Elem())
		if err := d.value(raw, p.Elem(), path); err != nil {
			return err
		}
		v.Set(p)
		return nil
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return mismatch(path, t.String(), raw)
		}
		x, err := d.any(raw, path)
		if err != nil {
			return err
		}
		if x == nil {
			v.SetZero()
		} else {
			v.Set(reflect.ValueOf(x))
		}
		return nil
	}
	if done, err := d.special(raw, v, t, path); done {
		return err
	}
	switch v.Kind() {
	case reflect.Bool:
		if !isBool(raw) {
			return mismatch(path, "bool", raw)
		}
		v.SetBool(raw[0] == 't')
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, ok := integer(raw)
		if !ok || v.OverflowInt(n) {
			return mismatch(path, fits("int", ok || isInteger(raw), t), raw)
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		n, err := strconv.ParseUint(string(raw), 10, 64)
		if err != nil || v.OverflowUint(n) {
			return mismatch(path, fits("int", isInteger(raw), t), raw)
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		f, ok := float(raw)
		if !ok {
			return mismatch(path, "float", raw)
		}
		v.SetFloat(f)
	case reflect.String:
		if len(raw) == 0 || raw[0] != '"' {
			return mismatch(path, "str", raw)
		}
		v.SetString(unquote(raw))
	case reflect.Slice, reflect.Array:
		return d.sequence(raw, v, path)
	case reflect.Map:
		return d.mapping(raw, v, path)
	case reflect.Struct:
		return d.structure(raw, v, path)
	default:
		return mismatch(path, t.String(), raw)
	}
	return nil
}

// special handles the types that have a form of their own.
func (d *decoder) special(raw Raw, v reflect.Value, t reflect.Type, path string) (done bool, err error) {
	switch t {
	case rawType:
		v.SetBytes(append([]byte(nil), raw...))
		return true, nil
	case timeType:
		return true, d.time(raw, v, path)
	case durationType: // seconds, as timedelta.total_seconds
		f, ok := float(raw)
		if !ok {
			return true, mismatch(path, "a number of seconds", raw)
		}
		v.SetInt(int64(f * float64(time.Second)))
		return true, nil
	case numberType:
		if !isNumber(raw) {
			return true, mismatch(path, "a number", raw)
		}
		v.SetString(string(raw))
		return true, nil
	case bigType:
		n, ok := new(big.Int).SetString(string(raw), 10)
		if !ok {
			return true, mismatch(path, "int", raw)
		}
		v.Set(reflect.ValueOf(n).Elem())
		return true, nil
	case uuidType, decimalType, dateType, todType:
		return true, d.typed(raw, v, t, path)
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		return true, d.bytes(raw, v, path)
	}
	if !v.CanAddr() {
		return false, nil
	}
	p := v.Addr()
	if p.Type().Implements(jsonUnmarshaler) {
		return true, p.Interface().(json.Unmarshaler).UnmarshalJSON(raw)
	}
	if len(raw) > 0 && raw[0] == '"' && p.Type().Implements(textUnmarshaler) {
		return true, p.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(unquote(raw)))
	}
	return false, nil
}

func (d *decoder) time(raw Raw, v reflect.Value, path string) error {
	kind, value, ok := typed(raw)
	if !ok {
		value = raw
	}
	if ok && kind != "datetime" && kind != "date" || len(value) == 0 || value[0] != '"' {
		return mismatch(path, "datetime", raw)
	}
	t, err := ParseISO(unquote(value), d.loc)
	if err != nil {
		return mismatch(path, "datetime", raw)
	}
	v.Set(reflect.ValueOf(t))
	return nil
}

// typed reads one of kombu's types, or the plain string that kombu 5.2 makes of it.
func (d *decoder) typed(raw Raw, v reflect.Value, t reflect.Type, path string) error {
	names := map[reflect.Type]string{uuidType: "UUID", decimalType: "Decimal", dateType: "date", todType: "time"}
	x, err := d.any(raw, path)
	if err != nil {
		return err
	}
	if text, ok := x.(string); ok {
		x = revive(strings.ToLower(names[t]), text)
	}
	if t == decimalType && isNumber(raw) {
		x = Decimal(raw)
	}
	if reflect.TypeOf(x) != t {
		return mismatch(path, names[t], raw)
	}
	v.Set(reflect.ValueOf(x))
	return nil
}

func revive(kind, text string) any {
	switch kind {
	case "uuid":
		if id, err := uuid.Parse(text); err == nil {
			return id
		}
	case "decimal":
		return Decimal(text)
	case "date":
		if t, err := ParseISO(text, nil); err == nil {
			return Date{t.Year(), t.Month(), t.Day()}
		}
	case "time":
		return TimeOfDay(text)
	}
	return nil
}

func (d *decoder) bytes(raw Raw, v reflect.Value, path string) error {
	if isNull(raw) {
		v.SetZero()
		return nil
	}
	x, err := d.any(raw, path)
	if err != nil {
		return err
	}
	switch x := x.(type) {
	case []byte:
		v.SetBytes(x)
	case string: // kombu 5.2 and other clients send text
		v.SetBytes([]byte(x))
	default:
		return mismatch(path, "bytes", raw)
	}
	return nil
}

func (d *decoder) sequence(raw Raw, v reflect.Value, path string) error {
	if v.Kind() == reflect.Slice && isNull(raw) {
		v.SetZero()
		return nil
	}
	if len(raw) == 0 || raw[0] != '[' {
		return mismatch(path, "list", raw)
	}
	elements, err := Elements(nil, raw)
	if err != nil {
		return err
	}
	if v.Kind() == reflect.Array {
		if len(elements) != v.Len() {
			return mismatch(path, fmt.Sprintf("a list of %d", v.Len()), raw)
		}
	} else {
		v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	}
	for i, e := range elements {
		if err := d.value(e, v.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) mapping(raw Raw, v reflect.Value, path string) error {
	if isNull(raw) {
		v.SetZero()
		return nil
	}
	if len(raw) == 0 || raw[0] != '{' {
		return mismatch(path, "dict", raw)
	}
	members, err := Members(nil, raw)
	if err != nil {
		return err
	}
	t := v.Type()
	v.Set(reflect.MakeMapWithSize(t, len(members)))
	for _, m := range members {
		at := path + "[" + strconv.Quote(m.Key) + "]"
		key := reflect.New(t.Key()).Elem()
		text := Raw(AppendString(nil, m.Key))
		if k := t.Key().Kind(); k != reflect.String && k != reflect.Interface && !reflect.PointerTo(t.Key()).Implements(textUnmarshaler) {
			text = Raw(m.Key)
		}
		if err := d.value(text, key, at); err != nil {
			return err
		}
		value := reflect.New(t.Elem()).Elem()
		if err := d.value(m.Value, value, at); err != nil {
			return err
		}
		v.SetMapIndex(key, value)
	}
	return nil
}

func (d *decoder) structure(raw Raw, v reflect.Value, path string) error {
	if len(raw) == 0 || raw[0] != '{' {
		return mismatch(path, "dict", raw)
	}
	members, err := Members(nil, raw)
	if err != nil {
		return err
	}
	fields := FieldsOf(v.Type())
	for _, m := range members {
		for i := range fields {
			if fields[i].Name != m.Key {
				continue
			}
			if err := d.value(m.Value, FieldAt(v, fields[i].Index), path+"."+m.Key); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// FieldAt is reflect's FieldByIndex, and makes embedded pointers.
func FieldAt(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

func (d *decoder) any(raw Raw, path string) (any, error) {
	raw = trim(raw)
	if len(raw) == 0 {
		return nil, syntax(0, "no value")
	}
	switch raw[0] {
	case 'n':
		return nil, nil
	case 't', 'f':
		return raw[0] == 't', nil
	case '"':
		return unquote(raw), nil
	case '[':
		elements, err := Elements(nil, raw)
		if err != nil {
			return nil, err
		}
		list := make([]any, len(elements))
		for i, e := range elements {
			if list[i], err = d.any(e, path); err != nil {
				return nil, err
			}
		}
		return list, nil
	case '{':
		return d.object(raw, path)
	}
	if n, ok := integer(raw); ok {
		return n, nil
	}
	if isInteger(raw) {
		n, _ := new(big.Int).SetString(string(raw), 10)
		return n, nil
	}
	f, _ := float(raw)
	return f, nil
}

func (d *decoder) object(raw Raw, path string) (any, error) {
	if kind, value, ok := typed(raw); ok {
		return d.revive(kind, value, path)
	}
	members, err := Members(nil, raw)
	if err != nil {
		return nil, err
	}
	m := make(map[string]any, len(members))
	for _, e := range members {
		if m[e.Key], err = d.any(e.Value, path); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (d *decoder) revive(kind string, value Raw, path string) (any, error) {
	if kind == "uuid" {
		members, err := Members(nil, value)
		if err == nil && len(members) == 1 && members[0].Key == "hex" && len(members[0].Value) == 34 {
			var id uuid.UUID
			if _, err := hex.Decode(id[:], members[0].Value[1:33]); err == nil {
				return id, nil
			}
		}
		return nil, mismatch(path, "a UUID", value)
	}
	if len(value) == 0 || value[0] != '"' {
		return nil, mismatch(path, "text in a "+kind, value)
	}
	text := unquote(value)
	switch kind {
	case "datetime":
		t, err := ParseISO(text, d.loc)
		if err != nil {
			return nil, mismatch(path, "datetime", value)
		}
		return t, nil
	case "bytes":
		return []byte(text), nil
	case "base64":
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, mismatch(path, "base64 text", value)
		}
		return b, nil
	}
	if x := revive(kind, text); x != nil {
		return x, nil
	}
	return nil, mismatch(path, "a known __type__", Raw(AppendString(nil, kind)))
}

func mismatch(path, want string, raw Raw) error {
	return &MismatchError{Path: path, Want: want, Got: pythonType(raw)}
}

func fits(word string, isWord bool, t reflect.Type) string {
	if isWord {
		return word + " that fits " + t.Kind().String()
	}
	return word
}

// pythonType names the type that Python would see in raw.
func pythonType(raw Raw) string {
	raw = trim(raw)
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case 'n':
		return "None"
	case 't', 'f':
		return "bool"
	case '"':
		return "str"
	case '[':
		return "list"
	case '{':
		if kind, _, ok := typed(raw); ok {
			return kind
		}
		return "dict"
	}
	if isInteger(raw) {
		return "int"
	}
	return "float"
}

func trim(raw Raw) Raw {
	i := space(raw, 0)
	end := len(raw)
	for end > i && (raw[end-1] == ' ' || raw[end-1] == '\n' || raw[end-1] == '\t' || raw[end-1] == '\r') {
		end--
	}
	return raw[i:end]
}

func isNull(raw Raw) bool { return len(raw) == 4 && raw[0] == 'n' }
func isBool(raw Raw) bool { return len(raw) > 0 && (raw[0] == 't' || raw[0] == 'f') }
func isNumber(raw Raw) bool {
	return len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' || raw[0] == 'N' || raw[0] == 'I')
}

func isInteger(raw Raw) bool {
	if len(raw) > 1 && raw[0] == '-' {
		raw = raw[1:]
	}
	return len(raw) > 0 && digits(raw, 0) == len(raw)
}

func integer(raw Raw) (int64, bool) {
	if len(raw) == 0 || len(raw) > 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

func float(raw Raw) (float64, bool) {
	switch string(raw) {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	if !isNumber(raw) {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// IsScalar tells whether type t is one value to Decode, whatever it is made of: not an object with fields, not a list.
func IsScalar(t reflect.Type) bool {
	switch t {
	case timeType, dateType, bigType:
		return true
	}
	p := reflect.PointerTo(t)
	return p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler)
}

// Trim returns text without the white space around it.
func Trim(text []byte) []byte { return trim(text) }
