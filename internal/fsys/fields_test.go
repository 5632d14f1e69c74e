package fsys_test

import (
	"testing"

	"github.com/keyfold/keyfold/internal/fsys"
)

func TestFieldsSayWhenTheyRunShort(t *testing.T) {
	whole := []byte{1, 0, 2, 0, 0, 0, 'a', 'b', 2, 0, 'c', 'd'}
	for n := range len(whole) + 1 {
		f := fsys.FieldsOf(whole[:n])
		var two [2]byte
		number, count := f.U16(), f.Count(1)
		f.Copy(two[:])
		text := f.Text()
		if f.Whole() != (n == len(whole)) || f.Short() != (n < len(whole)) {
			t.Fatalf("%d of %d bytes: whole %v, short %v", n, len(whole), f.Whole(), f.Short())
		}
		if n == len(whole) && (number != 1 || count != 2 || string(two[:]) != "ab" || text != "cd") {
			t.Fatalf("%d, %d, %q, %q", number, count, two, text)
		}
	}
}

func TestFieldsThatAreLeftAreNotWhole(t *testing.T) {
	f := fsys.FieldsOf(make([]byte, 9))
	if f.U64(); f.Whole() || f.Short() {
		t.Fatal("one byte is left, and they are whole or short")
	}
}

func TestFieldsCountNothingThatCannotBeThere(t *testing.T) {
	f := fsys.FieldsOf([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3})
	if n := f.Count(8); n != 0 || !f.Short() {
		t.Fatalf("%d things of 8 bytes in 3", n)
	}
}
