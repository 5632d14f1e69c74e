package input

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/keyfold/keyfold/bench/workload"
)

// readerBytes is what a reader takes besides what is in the file: buffers, a parser, and
// the tables of zstd.
const readerBytes = 2 << 20

// valueBytes is what a byte of JSON may take, at most: the parser keeps a value of some 100
// bytes for each element of an array, which may have two bytes in the text. It is that of one
// line, and is used again for the next.
const valueBytes = 64

// FuzzRead reads anything as lines of JSON and as CSV: it ends, without a panic, without
// more memory than the text explains, and a line that cannot be an event is named.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		"{\"a\":\"x\",\"b\":{\"c\":1}}\n{\"a\":\"y\",\"b\":{\"c\":-2.5e1}}\n", "a,b\nx,1\n\"y,\n\"\"z\",2\n", "\xef\xbb\xbf\r\n{\"a\":\"x\"}\r\n\n",
		"a,b\n\"x", "{\"a\":[[[[", "a\n", "", "\x28\xb5\x2f\xfd\x00", "{\"a\":1e999,\"b\":null}", "a,a,b\n1,2\n",
	} {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, csv bool) {
		o := Options{Path: "-", Key: ".a", Value: ".b.c", Stdin: bytes.NewReader(text)}
		if csv {
			o.Format, o.Value = "csv", ".b"
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		events, err := count(o)
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; !bytes.HasPrefix(text, []byte("\x28\xb5\x2f\xfd")) && taken > valueBytes*uint64(len(text))+readerBytes {
			t.Errorf("%d bytes were taken for %d", taken, len(text))
		}
		if events > len(text) {
			t.Errorf("%d events in %d bytes", events, len(text))
		}
		var line *LineError
		if errors.As(err, &line) && line.Line == 0 {
			t.Errorf("the line is not named: %v", err)
		}
	})
}

// count reads a file to its end.
func count(o Options) (events int, err error) {
	r, err := Open(o)
	if err != nil {
		return 0, err
	}
	err = workload.ForEach(r, func(workload.Event) error { events++; return nil })
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return events, errors.Join(err, r.Close())
}
