package layout

import (
	"fmt"
	"slices"
	"strings"
)

// Diff says in words what turned the layout described by old into that described
// by new: which fields were removed, added, renamed (a field of the same type in
// the same place), given another type, or reordered. It is empty if nothing did.
func Diff(old, new string) string {
	if old == new {
		return ""
	}
	a, errOld := parse(old)
	b, errNew := parse(new)
	if errOld != nil || errNew != nil {
		return fmt.Sprintf("was %s and is now %s", old, new)
	}
	var d differ
	d.compare(a, b, "")
	if len(d.found) == 0 {
		return fmt.Sprintf("was %s and is now %s", old, new)
	}
	return strings.Join(d.found, "; ")
}

// differ collects the differences in sentences.
type differ struct{ found []string }

func (d *differ) say(format string, args ...any) {
	d.found = append(d.found, fmt.Sprintf(format, args...))
}

// compare finds the differences between two types at the same path.
func (d *differ) compare(a, b *node, path string) {
	switch {
	case a.text == b.text:
	case a.kind == structNode && b.kind == structNode:
		d.compareFields(a.fields, b.fields, path)
	case a.kind == arrayNode && b.kind == arrayNode && a.length == b.length:
		d.compare(a.elem, b.elem, path+"[]")
	case path == "":
		d.say("the type was %s and is now %s", a.text, b.text)
	default:
		d.say("field %s was %s and is now %s", path, a.text, b.text)
	}
}

// compareFields finds the differences between two structs.
func (d *differ) compareFields(a, b []field, path string) {
	if path != "" && !strings.HasSuffix(path, ".") {
		path += "."
	}
	renamed := renames(a, b)
	for _, f := range a {
		if now, ok := find(b, f.name); ok {
			d.compare(f.node, now.node, path+f.name)
		} else if to, ok := renamed[f.name]; ok {
			d.say("field %s%s was renamed %s", path, f.name, to)
		} else {
			d.say("field %s%s (%s) was removed", path, f.name, f.node.text)
		}
	}
	d.sayAdded(a, b, renamed, path)
	d.sayReordered(a, b, path)
}

// sayAdded names the fields that only b has and that are no renamed ones.
func (d *differ) sayAdded(a, b []field, renamed map[string]string, path string) {
	isTarget := map[string]bool{}
	for _, to := range renamed {
		isTarget[to] = true
	}
	for _, f := range b {
		if _, was := find(a, f.name); !was && !isTarget[f.name] {
			d.say("field %s%s (%s) was added", path, f.name, f.node.text)
		}
	}
}

// sayReordered compares the order of the fields that both have.
func (d *differ) sayReordered(a, b []field, path string) {
	was, is := common(a, b), common(b, a)
	if !slices.Equal(was, is) {
		d.say("the order of fields was %s%s and is now %s%s",
			path, strings.Join(was, ", "+path), path, strings.Join(is, ", "+path))
	}
}

// place is where a field that only one side has stands: so many such fields behind
// a field that both have.
type place struct {
	after string
	nth   int
	text  string // its type
}

// places gives the fields of a that b does not have, by their place.
func places(a, b []field) map[place]string {
	found := map[place]string{}
	after, nth := "", 0
	for _, f := range a {
		if _, ok := find(b, f.name); ok {
			after, nth = f.name, 0
			continue
		}
		found[place{after, nth, f.node.text}] = f.name
		nth++
	}
	return found
}

// renames pairs the fields that only a has with those that only b has, where place
// and type agree.
func renames(a, b []field) map[string]string {
	renamed := map[string]string{}
	is := places(b, a)
	for at, name := range places(a, b) {
		if to, ok := is[at]; ok {
			renamed[name] = to
		}
	}
	return renamed
}

// common gives the names of the fields of a that b has too, in the order of a.
func common(a, b []field) []string {
	var names []string
	for _, f := range a {
		if _, ok := find(b, f.name); ok {
			names = append(names, f.name)
		}
	}
	return names
}

// find looks for a field by name.
func find(fields []field, name string) (field, bool) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}
