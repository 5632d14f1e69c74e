package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// versioned is a table with a version and codecs, whose types are what is tried.
func versioned[K comparable, S, E any](version uint32, codec engine.Codec[S]) engine.Definition {
	return engine.NewTable(engine.Spec[K, S, E, struct{}]{
		Name: "table", Version: version, StateCodec: codec,
		Apply: func(*engine.Context[K], *S, E) struct{} { return struct{}{} },
	})
}

type (
	before    struct{ A, B int64 }
	removed   struct{ A int64 }
	renamed   struct{ A, X int64 }
	reordered struct{ B, A int64 }
	retyped   struct {
		A int64
		B uint64
	}
	nestedOld struct{ In before }
	nestedNew struct{ In retyped }
)

type named[T any] struct {
	document[T]
	name string
}

func (n named[T]) Name() string { return n.name }

// Goal: a program that differs from the one that wrote the store is refused, told
// what differs and what to do, and the store is left as it is.
func TestChangedTablesAreRefusedWithTheDifferenceInWords(t *testing.T) {
	original := func() engine.Definition { return versioned[string, before, before](3, nil) }
	coded := func(name string) engine.Definition {
		return versioned[string, before, before](3, named[before]{name: name})
	}
	for _, c := range []struct {
		what     string
		old, now engine.Definition
		words    []string
	}{
		{"field removed", original(), versioned[string, removed, before](3, nil), []string{"state", "B", "removed"}},
		{"field renamed", original(), versioned[string, renamed, before](3, nil), []string{"state", "B", "renamed X"}},
		{"fields reordered", original(), versioned[string, reordered, before](3, nil), []string{"state", "order", "B, A"}},
		{"field retyped", original(), versioned[string, retyped, before](3, nil), []string{"state", "B", "int64", "uint64"}},
		{"event changed", original(), versioned[string, before, removed](3, nil), []string{"event", "B", "removed", "UpgradeEvent(3, 4"}},
		{"state changed with its version", original(), versioned[string, renamed, before](4, nil), []string{"version 3", "version 4", "renamed X", "UpgradeState"}},
		{"codec changed with its version", coded("mine/1"), versioned[string, before, before](4, named[before]{name: "mine/2"}), []string{"mine/1", "mine/2"}},
		{"key changed", original(), versioned[int32, before, before](3, nil), []string{"key", "string", "int32"}},
		{"nested field", versioned[string, nestedOld, before](3, nil), versioned[string, nestedNew, before](3, nil), []string{"In.B", "uint64"}},
		{"codec given", original(), coded("mine/1"), []string{"state", "codec mine/1"}},
		{"codec changed", coded("mine/1"), coded("mine/2"), []string{"state", "mine/1", "mine/2"}},
		{"codec taken away", coded("mine/1"), original(), []string{"state", "mine/1"}},
		{"version lowered", original(), versioned[string, before, before](2, nil), []string{"version 3", "version 2"}},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			l := newLab(t, smallStore(), c.old)
			must(t, l.engine.Close())
			checkRefused(t, l, l.options, []engine.Definition{c.now}, `"table"`, c.words)
			l.open()
		})
	}
}

func checkRefused(t *testing.T, l *lab, options engine.Options, tables []engine.Definition, table string, words []string) {
	t.Helper()
	_, err := l.tryOpen(options, tables...)
	var version *engine.VersionError
	if !errors.As(err, &version) {
		t.Fatalf("%v", err)
	}
	words = append(words, table, version.Diff)
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	if version.Have == "" || version.Want == "" || version.Have == version.Want {
		t.Errorf("have %q, want %q", version.Have, version.Want)
	}
}

func TestMissingTableAndOtherPartitionCountAreRefused(t *testing.T) {
	a, b := sums("a"), sums("b")
	l := newLab(t, smallStore(), a, b)
	must(t, l.engine.Close())
	checkRefused(t, l, l.options, []engine.Definition{a}, `"b"`, []string{"pass it to Open", `Dropped("b")`})
	other := l.options
	other.Partitions = 128
	checkRefused(t, l, other, l.tables, "64", []string{"Options.Partitions to 0 or 64"})
	l.options.Partitions = 0
	l.open()
	do(t, b, "k", 1)
}

func TestTableMayBeAddedToAnOldStore(t *testing.T) {
	for _, shards := range []int{2, 3} {
		a, b := sums("a"), lines("b")
		l := newLab(t, smallStore(), a)
		do(t, a, "k", 5)
		must(t, l.engine.Close())
		l.tables = []engine.Definition{b, a} // the order means nothing
		l.options.Shards = shards
		l.open()
		do(t, b, "k", 0)
		do(t, a, "k", 6)
		l.crash(crashfs.Lost)
		x, _ := get(t, a, "k")
		y, _ := get(t, b, "k")
		if x != (sum{2, 11, 6}) || y.Count != 1 {
			t.Errorf("%d shards: %+v, %+v", shards, x, y)
		}
		must(t, l.engine.Close())
		checkRefused(t, l, l.options, []engine.Definition{a}, `"b"`, nil)
		l.open()
	}
}

// Goal: fields that a build lays out otherwise in memory are the same on disk.
func TestTypesOfTheSameLayoutAreTheSame(t *testing.T) {
	type alias struct{ A, B int64 }
	l := newLab(t, smallStore(), versioned[string, before, before](3, nil))
	must(t, l.engine.Close())
	l.tables = []engine.Definition{versioned[string, alias, alias](3, nil)}
	l.open()
}
