package serial

import (
	"encoding/base64"
	"fmt"
	"math/big"
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
		return dst, fmt.Errorf("too large once its aliases are followed")
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
		dst = append(dst, '{')
		var err error
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(pyjson.AppendString(dst, n.Content[i].Value), ": "...)
			if dst, err = c.node(dst, n.Content[i+1], depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	}
	return scalar(dst, n)
}

func scalar(dst []byte, n *yaml.Node) ([]byte, error) {
	switch n.ShortTag() {
	case "!!str":
		return pyjson.AppendString(dst, n.Value), nil
	case "!!int":
		if i, ok := new(big.Int).SetString(n.Value, 0); ok {
			return i.Append(dst, 10), nil
		}
	case "!!null", "!!bool", "!!float", "!!binary", "!!timestamp":
		var v any
		if err := n.Decode(&v); err != nil {
			return dst, err
		}
		if s, ok := v.(string); ok && n.ShortTag() == "!!binary" {
			v = []byte(s)
		}
		if t, ok := v.(time.Time); ok {
			v = t.UTC()
		}
		return pyjson.Append(dst, v)
	}
	return dst, unsafeTag(n)
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
	v, err = replace(v, func(leaf any) (any, error) {
		switch leaf := leaf.(type) {
		case nil, bool, int64, float64, string, time.Time:
			return leaf, nil
		case []byte:
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!binary", Value: base64.StdEncoding.EncodeToString(leaf)}, nil
		case *big.Int:
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: leaf.String()}, nil
		}
		return nil, fmt.Errorf("a %T has no form in safe yaml", leaf)
	})
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(v)
}
