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
	"regexp"
	"slices"
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
// map[string]any or one of those. A time.Duration is a number of seconds. Structs are read as encoding/json does, but for the
// case of names and the option string: keys without a field are passed over, fields without a key stay as they are. An int is never made of a float with a fraction, nor anything of a string but
// text types. Times without offset are of zone loc. The error is a *MismatchError or one of the target's own.
func Decode(raw Raw, target any, loc *time.Location) error {
	return DecodeValue(raw, reflect.ValueOf(target).Elem(), loc)
}

// DecodeValue is Decode into a settable reflect.Value.
func DecodeValue(raw Raw, target reflect.Value, loc *time.Location) error {
	d := decoder{loc: loc}
	return d.value(raw, target)
}

// Any reads raw, one checked value, as Decode does into an interface.
func Any(raw Raw, loc *time.Location) (any, error) {
	d := decoder{loc: loc}
	return d.any(raw)
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

func (d *decoder) value(raw Raw, v reflect.Value) error {
	raw = trim(raw)
	t := v.Type()
	switch v.Kind() {
	case reflect.Pointer:
		if isNull(raw) {
			v.SetZero()
			return nil
		}
		p := reflect.New(t.Elem())
		if err := d.value(raw, p.Elem()); err != nil {
			return err
		}
		v.Set(p)
		return nil
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return mismatch(t.String(), raw)
		}
		x, err := d.any(raw)
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
	if done, err := d.special(raw, v, t); done {
		return err
	}
	switch v.Kind() {
	case reflect.Bool:
		if !isBool(raw) {
			return mismatch("bool", raw)
		}
		v.SetBool(raw[0] == 't')
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, ok := integer(raw)
		if !ok || v.OverflowInt(n) {
			return misfit("int", "int"+strconv.Itoa(t.Bits()), raw)
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		n, err := strconv.ParseUint(string(raw), 10, 64)
		if err != nil || v.OverflowUint(n) {
			return misfit("int", "uint"+strconv.Itoa(t.Bits()), raw)
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		f, ok := float(raw)
		switch {
		case !ok:
			return mismatch("float", raw)
		case v.OverflowFloat(f) || math.IsInf(f, 0) && isInteger(raw): // as Python's float(10**400)
			return misfit("float", "float"+strconv.Itoa(t.Bits()), raw)
		}
		v.SetFloat(f)
	case reflect.String:
		if len(raw) == 0 || raw[0] != '"' {
			return mismatch("str", raw)
		}
		v.SetString(unquote(raw))
	case reflect.Slice, reflect.Array:
		return d.sequence(raw, v)
	case reflect.Map:
		return d.mapping(raw, v)
	case reflect.Struct:
		return d.structure(raw, v)
	default:
		return mismatch(t.String(), raw)
	}
	return nil
}

// special handles the types that have a form of their own.
func (d *decoder) special(raw Raw, v reflect.Value, t reflect.Type) (done bool, err error) {
	switch t {
	case rawType:
		v.SetBytes(append([]byte(nil), raw...))
		return true, nil
	case timeType:
		return true, d.time(raw, v)
	case durationType: // seconds, as timedelta.total_seconds
		n, ok := seconds(raw)
		if !ok {
			return true, misfit("a number of seconds", "time.Duration", raw)
		}
		v.SetInt(n)
		return true, nil
	case numberType:
		if !isNumber(raw) {
			return true, mismatch("a number", raw)
		}
		v.SetString(string(raw))
		return true, nil
	case bigType:
		n, ok := new(big.Int).SetString(string(raw), 10)
		if !ok {
			return true, mismatch("int", raw)
		}
		v.Set(reflect.ValueOf(n).Elem())
		return true, nil
	case uuidType, decimalType, dateType, todType:
		return true, d.typed(raw, v, t)
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		return true, d.bytes(raw, v)
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

func (d *decoder) time(raw Raw, v reflect.Value) error {
	kind, value, ok := typed(raw)
	if !ok {
		value = raw
	}
	if ok && kind != "datetime" && kind != "date" || len(value) == 0 || value[0] != '"' {
		return mismatch("datetime", raw)
	}
	t, err := ParseISO(unquote(value), d.loc)
	if err != nil {
		return mismatch("datetime", raw)
	}
	v.Set(reflect.ValueOf(t))
	return nil
}

// typed reads one of kombu's types, or the plain string that kombu 5.2 makes of it.
func (d *decoder) typed(raw Raw, v reflect.Value, t reflect.Type) error {
	names := map[reflect.Type]string{uuidType: "UUID", decimalType: "Decimal", dateType: "date", todType: "time"}
	x, err := d.any(raw)
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
		return mismatch(names[t], raw)
	}
	v.Set(reflect.ValueOf(x))
	return nil
}

// decimalForm is what Python's Decimal takes.
var decimalForm = regexp.MustCompile(`(?i)^[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?|inf(inity)?|s?nan[0-9]*)$`)

// timeForm is what time.isoformat writes.
var timeForm = regexp.MustCompile(`^\d\d:\d\d(:\d\d([.,]\d{1,6})?)?(Z|[+-]\d\d:?\d\d(:?\d\d(\.\d+)?)?)?$`)

func revive(kind, text string) any {
	switch kind {
	case "uuid":
		if id, err := uuid.Parse(text); err == nil {
			return id
		}
	case "decimal":
		if decimalForm.MatchString(text) {
			return Decimal(text)
		}
	case "date":
		if t, err := ParseISO(text, nil); err == nil {
			return Date{t.Year(), t.Month(), t.Day()}
		}
	case "time":
		if timeForm.MatchString(text) {
			return TimeOfDay(text)
		}
	}
	return nil
}

func (d *decoder) bytes(raw Raw, v reflect.Value) error {
	if isNull(raw) {
		v.SetZero()
		return nil
	}
	x, err := d.any(raw)
	if err != nil {
		return err
	}
	switch x := x.(type) {
	case []byte:
		v.SetBytes(x)
	case string: // kombu 5.2 and other clients send text
		v.SetBytes([]byte(x))
	default:
		return mismatch("bytes", raw)
	}
	return nil
}

func (d *decoder) sequence(raw Raw, v reflect.Value) error {
	if v.Kind() == reflect.Slice && isNull(raw) {
		v.SetZero()
		return nil
	}
	if len(raw) == 0 || raw[0] != '[' {
		return mismatch("list", raw)
	}
	elements, err := Elements(nil, raw)
	if err != nil {
		return err
	}
	if v.Kind() == reflect.Array {
		if len(elements) != v.Len() {
			return mismatch(fmt.Sprintf("a list of %d", v.Len()), raw)
		}
	} else {
		v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	}
	for i, e := range elements {
		if err := d.value(e, v.Index(i)); err != nil {
			return at(err, i)
		}
	}
	return nil
}

func (d *decoder) mapping(raw Raw, v reflect.Value) error {
	if isNull(raw) {
		v.SetZero()
		return nil
	}
	if len(raw) == 0 || raw[0] != '{' {
		return mismatch("dict", raw)
	}
	members, err := Members(nil, raw)
	if err != nil {
		return err
	}
	t := v.Type()
	v.Set(reflect.MakeMapWithSize(t, len(members)))
	for _, m := range members {
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if err := d.key(m.Key, key); err != nil {
			return within(err, "["+strconv.Quote(m.Key)+"]")
		}
		if err := d.value(m.Value, value); err != nil {
			return within(err, "["+strconv.Quote(m.Key)+"]")
		}
		v.SetMapIndex(key, value)
	}
	return nil
}

// key reads the key of an object: JSON makes text of numbers and truth values.
func (d *decoder) key(text string, v reflect.Value) error {
	quoted := Raw(AppendString(nil, text))
	if k := v.Kind(); k == reflect.String || k == reflect.Interface || reflect.PointerTo(v.Type()).Implements(textUnmarshaler) {
		return d.value(quoted, v)
	}
	if Valid([]byte(text)) != nil {
		return mismatch(word(v.Type()), quoted)
	}
	return d.value(Raw(text), v)
}

// word names what becomes a value of type t, in Python's words.
func word(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Bool:
		return "bool"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uintptr:
		return "int"
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return "float"
	}
	return t.String()
}

func (d *decoder) structure(raw Raw, v reflect.Value) error {
	if len(raw) == 0 || raw[0] != '{' {
		return mismatch("dict", raw)
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
			if err := d.value(m.Value, FieldAt(v, fields[i].Index)); err != nil {
				return within(err, "."+m.Key)
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

func (d *decoder) any(raw Raw) (any, error) {
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
			if list[i], err = d.any(e); err != nil {
				return nil, at(err, i)
			}
		}
		return list, nil
	case '{':
		return d.object(raw)
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

func (d *decoder) object(raw Raw) (any, error) {
	if kind, value, ok := typed(raw); ok {
		return d.revive(kind, value)
	}
	members, err := Members(nil, raw)
	if err != nil {
		return nil, err
	}
	m := make(map[string]any, len(members))
	for _, e := range members {
		if m[e.Key], err = d.any(e.Value); err != nil {
			return nil, within(err, "["+strconv.Quote(e.Key)+"]")
		}
	}
	return m, nil
}

// kinds are kombu's types.
var kinds = [...]string{"datetime", "date", "time", "decimal", "uuid", "bytes", "base64"}

func (d *decoder) revive(kind string, value Raw) (any, error) {
	if !slices.Contains(kinds[:], kind) {
		return nil, &MismatchError{Want: "one of kombu's types (" + strings.Join(kinds[:], ", ") + ")", Got: "__type__ " + strconv.Quote(kind)}
	}
	if kind == "uuid" {
		members, err := Members(nil, value)
		if err == nil && len(members) == 1 && members[0].Key == "hex" && len(members[0].Value) == 34 {
			var id uuid.UUID
			if _, err := hex.Decode(id[:], members[0].Value[1:33]); err == nil {
				return id, nil
			}
		}
		return nil, mismatch("a UUID", value)
	}
	if len(value) == 0 || value[0] != '"' {
		return nil, mismatch("text in a "+kind, value)
	}
	text := unquote(value)
	switch kind {
	case "datetime":
		t, err := ParseISO(text, d.loc)
		if err != nil {
			return nil, mismatch("datetime", value)
		}
		return t, nil
	case "bytes":
		return []byte(text), nil
	case "base64":
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, mismatch("base64 text", value)
		}
		return b, nil
	}
	if x := revive(kind, text); x != nil {
		return x, nil
	}
	return nil, mismatch("the text of a "+kind, value)
}

func mismatch(want string, raw Raw) error {
	return &MismatchError{Want: want, Got: TypeOf(raw)}
}

// within says where in a value err was found.
func within(err error, step string) error {
	if m, ok := err.(*MismatchError); ok { //nolint:errorlint // it is ours, as it was made
		m.Path = step + m.Path
	}
	return err
}

func at(err error, i int) error { return within(err, "["+strconv.Itoa(i)+"]") }

// misfit is the mismatch of a value that may be what is wanted, and too large for the Go type.
func misfit(want, fits string, raw Raw) error {
	if !isNumber(raw) || want == "int" && !isInteger(raw) {
		return mismatch(want, raw)
	}
	got := string(raw)
	if len(got) > 24 {
		got = fmt.Sprintf("%s of %d digits", TypeOf(raw), len(strings.TrimLeft(got, "-")))
	}
	return &MismatchError{Want: want + " that fits " + fits, Got: got}
}

// seconds reads a duration, in nanoseconds.
func seconds(raw Raw) (int64, bool) {
	if n, ok := integer(raw); ok {
		const most = math.MaxInt64 / int64(time.Second)
		return n * int64(time.Second), n >= -most && n <= most
	}
	f, ok := float(raw)
	f = math.Round(f * float64(time.Second))
	return int64(f), ok && f > math.MinInt64 && f < math.MaxInt64 // false for NaN
}

// TypeOf names the type that Python sees in raw, one checked value: int, str, None, datetime …
func TypeOf(raw Raw) string {
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
