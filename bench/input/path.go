package input

import (
	"errors"
	"fmt"
	"strings"
)

// parsePaths reads paths such as `.origin,.properties.net`.
func parsePaths(s string) ([][]string, error) {
	if s == "" {
		return nil, errors.New("no field is named: for example .origin,.destination")
	}
	var paths [][]string
	for _, field := range strings.Split(s, ",") {
		path, err := parsePath(field)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func parsePath(field string) ([]string, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(field), ".")
	names := strings.Split(rest, ".")
	for _, name := range names {
		ok = ok && name != ""
	}
	if !ok {
		return nil, fmt.Errorf("%q is not a path to a field: a dot before each name, as in .origin or .properties.net", field)
	}
	return names, nil
}

// appendPart appends one field of a key that has several. A comma separates them,
// so one inside a field, and the backslash, get a backslash before them: different
// fields never make the same key.
func appendPart(key, field []byte) []byte {
	for _, c := range field {
		if c == ',' || c == '\\' {
			key = append(key, '\\')
		}
		key = append(key, c)
	}
	return key
}

// keyJoin builds a key from its fields.
type keyJoin struct {
	key   []byte
	parts int // how many fields a key has
	have  int
}

func (k *keyJoin) reset() { k.key, k.have = k.key[:0], 0 }

func (k *keyJoin) add(field []byte) {
	if k.have > 0 {
		k.key = append(k.key, ',')
	}
	k.have++
	if k.parts == 1 {
		k.key = append(k.key, field...)
		return
	}
	k.key = appendPart(k.key, field)
}
