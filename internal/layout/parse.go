package layout

import (
	"errors"
	"strings"
)

// depthMax is how deeply the types of a description may be nested.
const depthMax = 100

// errDescription says that a string is no description of a layout.
var errDescription = errors.New("layout: not a description")

// nodeKind tells structs and arrays from what has no parts.
type nodeKind uint8

const (
	plainNode nodeKind = iota
	structNode
	arrayNode
)

// A node is one type of a parsed description.
type node struct {
	kind   nodeKind
	text   string
	length string // of an array
	elem   *node  // of an array
	fields []field
}

// A field is a field of a struct in a parsed description.
type field struct {
	name string
	node *node
}

// parse reads what [Layout.String] writes.
func parse(text string) (*node, error) {
	n, rest, err := parseNode(text, 0)
	if err != nil || rest != "" {
		return nil, errDescription
	}
	return n, nil
}

// parseNode reads one type from the front of text and returns what is behind it.
func parseNode(text string, depth int) (n *node, rest string, err error) {
	body, isStruct := strings.CutPrefix(text, "struct{")
	switch {
	case depth > depthMax:
		return nil, "", errDescription
	case isStruct:
		n, rest, err = parseStruct(body, depth)
	case strings.HasPrefix(text, "[") && !strings.HasPrefix(text, "[]"):
		n, rest, err = parseArray(text, depth)
	default:
		end := strings.IndexAny(text, ";}")
		if end < 0 {
			end = len(text)
		}
		n, rest = &node{}, text[end:]
	}
	if err != nil || len(rest) == len(text) {
		return nil, "", errDescription
	}
	n.text = text[:len(text)-len(rest)]
	return n, rest, nil
}

// parseArray reads "[16]uint8".
func parseArray(text string, depth int) (*node, string, error) {
	length, elem, ok := strings.Cut(text[1:], "]")
	if !ok {
		return nil, "", errDescription
	}
	n, rest, err := parseNode(elem, depth+1)
	return &node{kind: arrayNode, length: length, elem: n}, rest, err
}

// parseStruct reads fields up to and with the closing brace.
func parseStruct(text string, depth int) (*node, string, error) {
	n := &node{kind: structNode}
	for {
		if rest, ok := strings.CutPrefix(text, "}"); ok {
			return n, rest, nil
		}
		name, typ, ok := strings.Cut(text, " ")
		if !ok {
			return nil, "", errDescription
		}
		one, rest, err := parseNode(typ, depth+1)
		if err != nil {
			return nil, "", err
		}
		n.fields = append(n.fields, field{name, one})
		text = strings.TrimPrefix(rest, "; ")
	}
}
