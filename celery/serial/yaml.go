package serial

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/agensium/agensium/celery/pyjson"
)

// fromYAML returns YAML as JSON text.
func fromYAML(body []byte) ([]byte, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(body, &node); err != nil {
		return nil, err
	}
	if node.Kind != yaml.DocumentNode || len(node.Content) != 1 {
		return nil, fmt.Errorf("no document")
	}
	c := converter{left: 1_000_000}
	return c.node(nil, node.Content[0], 0)
}

// converter writes nodes as JSON. left bounds their number: aliases make exponential documents out of small ones.
type converter struct {
	left int
}

func (c *converter) node(dst []byte, n *yaml.Node, depth int) ([]byte, error) {
	if c.left--; c.left < 0 || depth > pyjson.MaxDepth {
		return dst, errTooLarge
	}
	if tag := n.ShortTag(); n.Kind == yaml.SequenceNode && tag != "!!seq" || n.Kind == yaml.MappingNode && tag != "!!map" {
		return dst, unsafeTag(n)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return c.node(dst, n.Alias, depth+1)
	case yaml.SequenceNode:
		dst = append(dst, '[')
		var err error
		for i, e := range n.Content {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			if dst, err = c.node(dst, e, depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	case yaml.MappingNode:
		members, err := c.members(n, depth)
		if err != nil {
			return dst, err
		}
		return pyjson.Append(dst, members)
	}
	return scalar(dst, n)
}

// members are what a mapping becomes: what it merges, then its own. The last of a name counts.
func (c *converter) members(n *yaml.Node, depth int) ([]pyjson.Member, error) {
	var merged, own []pyjson.Member
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := followed(n.Content[i]), n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			more, err := c.merge(followed(value), depth+1)
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
			continue
		}
		name, err := keyText(key)
		if err != nil {
			return nil, err
		}
		raw, err := c.node(nil, value, depth+1)
		if err != nil {
			return nil, err
		}
		own = append(own, pyjson.Member{Key: name, Value: raw})
	}
	at, members := map[string]int{}, []pyjson.Member{}
	for _, m := range append(merged, own...) {
		if i, twice := at[m.Key]; twice {
			members[i] = m
			continue
		}
		at[m.Key] = len(members)
		members = append(members, m)
	}
	return members, nil
}

// merge reads what << stands before: a mapping, or several of which the first counts most.
func (c *converter) merge(n *yaml.Node, depth int) ([]pyjson.Member, error) {
	if c.left--; c.left < 0 || depth > pyjson.MaxDepth {
		return nil, errTooLarge
	}
	switch n.Kind {
	case yaml.MappingNode:
		return c.members(n, depth)
	case yaml.SequenceNode:
		var all []pyjson.Member
		for _, e := range slices.Backward(n.Content) {
			more, err := c.merge(followed(e), depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
		return all, nil
	}
	return nil, fmt.Errorf("line %d: << merges a mapping or a list of them", n.Line)
}

// followed is what an alias stands for.
func followed(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// keyText is a key as json.dumps writes what PyYAML makes of it.
func keyText(n *yaml.Node) (text string, err error) {
	if n.Kind != yaml.ScalarNode {
		return "", fmt.Errorf("line %d: a key of a mapping is no scalar", n.Line)
	}
	raw, err := scalar(nil, n)
	switch {
	case err != nil:
		return "", err
	case raw[0] == '{':
		return "", fmt.Errorf("line %d: a key of a mapping is a %s", n.Line, pyjson.TypeOf(raw))
	case raw[0] == '"':
		err = pyjson.Decode(raw, &text, nil)
		return text, err
	}
	return string(raw), nil
}

var errTooLarge = errors.New("too large once its aliases are followed")

// What PyYAML, which knows YAML 1.1, takes plain scalars for: the parser, which knows 1.2, sees other things in some of them.
var (
	plainInt    = regexp.MustCompile(`^[-+]?(0b[01_]+|0[0-7_]*|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$`)
	plainFloat  = regexp.MustCompile(`^([-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
	sexagesimal = regexp.MustCompile(`^[-+]?([1-9][0-9_]*(:[0-5]?[0-9])+|[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*)$`)
	plainTime   = regexp.MustCompile(`^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?[ \t]*(Z|[-+][0-9]{1,2}(?::[0-9]{2})?)?)?$`)
)

// tagOf is the tag that PyYAML finds for a scalar.
func tagOf(n *yaml.Node) string {
	const quotedOrTagged = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle | yaml.TaggedStyle
	tag := n.ShortTag()
	switch {
	case n.Style&quotedOrTagged != 0:
	case isBool(n.Value):
		return "!!bool"
	case !strings.ContainsAny(n.Value[:min(1, len(n.Value))], "+-.0123456789"):
	case sexagesimal.MatchString(n.Value):
		return tagSexagesimal
	case plainInt.MatchString(n.Value):
		return "!!int"
	case plainFloat.MatchString(n.Value):
		return "!!float"
	case isTime(n.Value):
		return "!!timestamp"
	case tag == "!!int" || tag == "!!float" || tag == "!!timestamp":
		return "!!str"
	}
	return tag
}

// tagSexagesimal is ours, for an integer or a float in base 60.
const tagSexagesimal = "!sexagesimal"

// words are what PyYAML takes for truth values, in small letters, with a capital, or in capitals.
var words = map[string]bool{"yes": true, "no": false, "true": true, "false": false, "on": true, "off": false}

func isBool(text string) bool {
	lower := strings.ToLower(text)
	_, is := words[lower]
	return is && (text == lower || text == strings.ToUpper(text) || text[1:] == lower[1:])
}

// inBase60 is the value of text, which is 90 for 1:30.
func inBase60(text string) any {
	text = strings.ReplaceAll(strings.TrimPrefix(text, "+"), "_", "")
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, isFloat := strings.Cut(digits, ".")
	sum, base := new(big.Int), big.NewInt(60)
	for part := range strings.SplitSeq(whole, ":") {
		n, _ := new(big.Int).SetString(part, 10) // digits
		sum.Add(sum.Mul(sum, base), n)
	}
	if negative {
		sum.Neg(sum)
	}
	if !isFloat {
		return sum
	}
	rest, _ := strconv.ParseFloat("0."+fraction+"0", 64)
	f, _ := new(big.Float).SetInt(sum).Float64()
	return f + math.Copysign(rest, f)
}

// isTime tells whether text is a time, or a date with all its digits.
func isTime(text string) bool {
	parts := plainTime.FindStringSubmatch(text)
	return parts != nil && (parts[4] != "" || len(text) == len("2006-01-02"))
}

func scalar(dst []byte, n *yaml.Node) ([]byte, error) {
	tag := tagOf(n)
	switch tag {
	case "!!str":
		return pyjson.AppendString(dst, n.Value), nil
	case "!!int":
		if i, ok := new(big.Int).SetString(strings.ReplaceAll(n.Value, "_", ""), 0); ok {
			return i.Append(dst, 10), nil
		}
	case "!!timestamp":
		if parts := plainTime.FindStringSubmatch(n.Value); parts != nil {
			return timestamp(dst, n, parts)
		}
	case tagSexagesimal:
		return pyjson.Append(dst, inBase60(n.Value))
	case "!!bool":
		if !isBool(n.Value) {
			break
		}
		return strconv.AppendBool(dst, words[strings.ToLower(n.Value)]), nil
	case "!!null", "!!float", "!!binary":
		var v any
		if err := n.Decode(&v); err != nil {
			return dst, err
		}
		if s, ok := v.(string); ok && tag == "!!binary" {
			v = []byte(s)
		}
		return pyjson.Append(dst, v)
	}
	return dst, unsafeTag(n)
}

// timestamp writes a date or a time, with its offset if it has one, as kombu writes what PyYAML makes of it.
func timestamp(dst []byte, n *yaml.Node, parts []string) ([]byte, error) {
	date := func(i int) string { return fmt.Sprintf("%02s", parts[i]) }
	day := parts[1] + "-" + date(2) + "-" + date(3)
	kind, text := "date", day
	if parts[4] != "" {
		fraction, offset := strings.TrimRight((parts[7] + "000000")[:6], "0"), parts[8]
		kind, text = "datetime", day+"T"+date(4)+":"+parts[5]+":"+parts[6]
		if fraction != "" {
			text += "." + (fraction + "00000")[:6]
		}
		switch {
		case offset == "Z":
			text += "+00:00"
		case offset != "":
			digits := strings.ReplaceAll(offset[1:], ":", "")
			if len(digits)%2 == 1 {
				digits = "0" + digits
			}
			text += offset[:1] + (digits + "00")[:2] + ":" + (digits + "00")[2:4]
		}
	}
	if _, err := pyjson.ParseISO(text, nil); err != nil {
		return dst, fmt.Errorf("line %d: %w", n.Line, err)
	}
	return pyjson.Append(dst, map[string]any{"__type__": kind, "__value__": text})
}

func unsafeTag(n *yaml.Node) error {
	return fmt.Errorf("line %d: a value with tag %s is not read: only what safe_load reads", n.Line, n.Tag)
}

// toYAML returns JSON text as YAML.
func toYAML(text []byte) ([]byte, error) {
	v, err := pyjson.Any(text, nil)
	if err != nil {
		return nil, err
	}
	n, err := toNode(v)
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(n)
}

// toNode writes a value as PyYAML's safe_dump would, but for text, which always has quotes: PyYAML takes more for numbers, times and
// truth values than the encoder knows.
func toNode(v any) (*yaml.Node, error) {
	plain := func(tag, text string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
	}
	switch v := v.(type) {
	case nil:
		return plain("!!null", "null"), nil
	case bool:
		return plain("!!bool", strconv.FormatBool(v)), nil
	case int64:
		return plain("!!int", strconv.FormatInt(v, 10)), nil
	case *big.Int:
		return plain("!!int", v.String()), nil
	case float64:
		return plain("!!float", floatText(v)), nil
	case string:
		n := plain("!!str", v)
		n.Style = yaml.DoubleQuotedStyle
		return n, nil
	case time.Time:
		return plain("!!timestamp", string(pyjson.AppendISO(nil, v))), nil
	case pyjson.Date:
		return plain("!!timestamp", v.String()), nil
	case []byte:
		return plain("!!binary", base64.StdEncoding.EncodeToString(v)), nil
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, e := range v {
			child, err := toNode(e)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		return n, nil
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			key, _ := toNode(k)
			child, err := toNode(v[k])
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, key, child)
		}
		return n, nil
	}
	return nil, fmt.Errorf("a %T has no form in safe yaml", v)
}

// floatText is PyYAML's represent_float: without a point it would read text.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return ".nan"
	case math.IsInf(f, 1):
		return ".inf"
	case math.IsInf(f, -1):
		return "-.inf"
	}
	text := string(pyjson.AppendFloat(nil, f))
	if !strings.Contains(text, ".") {
		text = strings.Replace(text, "e", ".0e", 1)
	}
	return text
}
