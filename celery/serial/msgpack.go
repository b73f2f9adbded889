package serial

import (
	"fmt"
	"math/big"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"github.com/agensium/agensium/celery/pyjson"
)

// unpack returns msgpack as JSON text.
func unpack(body []byte) ([]byte, error) {
	text, rest, err := unpackValue(nil, body, 0)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes too many", len(rest))
	}
	return text, nil
}

func unpackValue(dst, b []byte, depth int) (text, rest []byte, err error) {
	if depth > pyjson.MaxDepth {
		return dst, b, fmt.Errorf("nested too deeply")
	}
	switch kind := msgp.NextType(b); kind {
	case msgp.NilType:
		rest, err = msgp.ReadNilBytes(b)
		return append(dst, "null"...), rest, err
	case msgp.BoolType:
		v, rest, err := msgp.ReadBoolBytes(b)
		return strconv.AppendBool(dst, v), rest, err
	case msgp.IntType:
		v, rest, err := msgp.ReadInt64Bytes(b)
		return strconv.AppendInt(dst, v, 10), rest, err
	case msgp.UintType:
		v, rest, err := msgp.ReadUint64Bytes(b)
		return strconv.AppendUint(dst, v, 10), rest, err
	case msgp.Float32Type, msgp.Float64Type:
		v, rest, err := msgp.ReadFloat64Bytes(b)
		return pyjson.AppendFloat(dst, v), rest, err
	case msgp.StrType:
		v, rest, err := msgp.ReadStringBytes(b)
		return pyjson.AppendString(dst, v), rest, err
	case msgp.BinType:
		v, rest, err := msgp.ReadBytesZC(b)
		if err != nil {
			return dst, rest, err
		}
		dst, err = pyjson.Append(dst, v)
		return dst, rest, err
	case msgp.ArrayType:
		return unpackArray(dst, b, depth)
	case msgp.MapType:
		return unpackMap(dst, b, depth)
	case msgp.TimeType:
		v, rest, err := msgp.ReadTimeBytes(b)
		if err != nil {
			return dst, rest, err
		}
		dst, err = pyjson.Append(dst, v.UTC())
		return dst, rest, err
	default:
		return dst, b, fmt.Errorf("a value of type %s has no form in JSON", kind)
	}
}

func unpackArray(dst, b []byte, depth int) ([]byte, []byte, error) {
	n, rest, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return dst, rest, err
	}
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if dst, rest, err = unpackValue(dst, rest, depth+1); err != nil {
			return dst, rest, err
		}
	}
	return append(dst, ']'), rest, nil
}

func unpackMap(dst, b []byte, depth int) ([]byte, []byte, error) {
	n, rest, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return dst, rest, err
	}
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		start := len(dst)
		if dst, rest, err = unpackValue(dst, rest, depth+1); err != nil {
			return dst, rest, err
		}
		if dst[start] != '"' { // json.dumps makes strings of numbers, booleans and None
			key := string(dst[start:])
			if key[0] == '[' || key[0] == '{' {
				return dst, rest, fmt.Errorf("a key of a map is no scalar")
			}
			dst = pyjson.AppendString(dst[:start], key)
		}
		if dst, rest, err = unpackValue(append(dst, ": "...), rest, depth+1); err != nil {
			return dst, rest, err
		}
	}
	return append(dst, '}'), rest, nil
}

// pack returns JSON text as msgpack, with maps in their order. Bytes become bin; what else kombu has typed objects for
// is refused, as Python's client refuses it.
func pack(text []byte) ([]byte, error) { return packValue(make([]byte, 0, len(text)), text) }

func packValue(dst []byte, raw pyjson.Raw) ([]byte, error) {
	switch raw = pyjson.Trim(raw); {
	case len(raw) > 0 && raw[0] == '[':
		elements, err := pyjson.Elements(nil, raw)
		if err != nil {
			return dst, err
		}
		dst = msgp.AppendArrayHeader(dst, uint32(len(elements)))
		for _, e := range elements {
			if dst, err = packValue(dst, e); err != nil {
				return dst, err
			}
		}
		return dst, nil
	case len(raw) > 0 && raw[0] == '{' && !pyjson.IsTyped(raw):
		members, err := pyjson.Members(nil, raw)
		if err != nil {
			return dst, err
		}
		dst = msgp.AppendMapHeader(dst, uint32(len(members)))
		for _, m := range members {
			if dst, err = packValue(msgp.AppendString(dst, m.Key), m.Value); err != nil {
				return dst, err
			}
		}
		return dst, nil
	}
	return packScalar(dst, raw)
}

func packScalar(dst []byte, raw pyjson.Raw) ([]byte, error) {
	v, err := pyjson.Any(raw, nil)
	if err != nil {
		return dst, err
	}
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(dst), nil
	case bool:
		return msgp.AppendBool(dst, v), nil
	case int64:
		return msgp.AppendInt64(dst, v), nil
	case float64:
		return msgp.AppendFloat64(dst, v), nil
	case string:
		return msgp.AppendString(dst, v), nil
	case []byte:
		return msgp.AppendBytes(dst, v), nil
	case *big.Int:
		if v.IsUint64() {
			return msgp.AppendUint64(dst, v.Uint64()), nil
		}
	}
	return dst, fmt.Errorf("a %T has no form in msgpack", v)
}
