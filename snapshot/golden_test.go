package snapshot

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// span is a field of the format: how many bytes, and what they are.
type span struct {
	size int
	name string
}

var (
	headSpans = []span{{8, "magic"}, {2, "version"}, {2, "reserved"}, {4, "length"}, {16, "store"}, {4, "layout"},
		{4, "shard"}, {8, "number"}, {8, "hash of the header"}, {8, "hash"}}
	blockSpans = []span{{4, "magic"}, {1, "codec"}, {1, "form"}, {2, "table"}, {4, "partition"}, {4, "entries"},
		{4, "length"}, {4, "reserved"}, {8, "offset"}, {8, "hash of data"}, {8, "hash"}}
	itemSpans = []span{{4, "partition"}, {4, "blocks"}, {8, "sequence"}, {8, "epoch"}, {8, "offset"}, {8, "bytes"}, {8, "entries"}}
	footSpans = []span{{8, "magic"}, {8, "directory"}, {4, "partitions"}, {4, "reserved"}, {8, "blocks"}, {8, "entries"},
		{8, "data"}, {8, "hash of the directory"}, {8, "hash"}}
)

// dumper writes bytes as an annotated dump.
type dumper struct {
	out  strings.Builder
	left []byte
	at   int
}

func (d *dumper) part(title string, spans ...span) {
	fmt.Fprintf(&d.out, "# %s\n", title)
	for _, s := range spans {
		fmt.Fprintf(&d.out, "%03d-%03d  %-48s %s\n", d.at, d.at+s.size, fmt.Sprintf("% x", d.left[:s.size]), s.name)
		d.left = d.left[s.size:]
		d.at += s.size
	}
}

// Goal: the format is what its table says, byte by byte, and stays so: a changed
// dump needs a new version.
func TestFormatIsThatOfTheGoldenDump(t *testing.T) {
	fs := crashfs.New()
	write(t, fs, "a", testID, []byte("kf"), []image{
		{partition: 5, sequence: 1000, epoch: 2, items: []item{{1, 0, 1, []byte("key=one")}, {3, 1, 2, []byte("two")}}},
		{partition: 6},
	})
	d := dumper{left: content(t, fs, "a")}
	d.part("head: snapshot 7 of shard 2 in layout 1", headSpans...)
	d.part("header", span{2, "the caller's"})
	d.part("block: 1 entry of table 1 in partition 5", append(blockSpans[:len(blockSpans):len(blockSpans)], span{7, "data"})...)
	d.part("block: 2 entries of table 3 in partition 5", append(blockSpans[:len(blockSpans):len(blockSpans)], span{3, "data"})...)
	d.part("directory: partition 5 at sequence 1000, epoch 2", itemSpans...)
	d.part("directory: partition 6, which is empty", itemSpans...)
	d.part("footer: 2 partitions, 2 blocks, 3 entries, 10 bytes", footSpans...)
	if len(d.left) != 0 {
		t.Errorf("%d bytes are left over", len(d.left))
	}
	path := filepath.Join("testdata", "golden", "snapshot.txt")
	if *update {
		if err := os.WriteFile(path, []byte(d.out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")); d.out.String() != string(want) {
		t.Errorf("the format has changed (go test ./snapshot -run Golden -update):\n%s", d.out.String())
	}
}
