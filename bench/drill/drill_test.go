package drill

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
)

// childVariable makes the test binary a child; its value says how the child's store
// behaves.
const childVariable = "KEYFOLD_DRILL_CHILD"

func TestMain(m *testing.M) {
	how := os.Getenv(childVariable)
	if how == "" {
		os.Exit(m.Run())
	}
	open := func(ctx context.Context, o store.Options) (bench.Target, error) { return openToy(o.Dir, how) }
	if err := Child(context.Background(), os.Args[len(os.Args)-1], os.Stdin, open); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(0)
}

// toy is a store that survives a kill, if it is honest: a map, and a file with one
// line per event, written before the acknowledgement.
type toy struct {
	*bench.Memory
	how  string
	mu   sync.Mutex
	file *os.File
	w    *bufio.Writer
	n    int
}

func openToy(dir, how string) (bench.Target, error) {
	if how == "refuses" {
		return nil, errors.New("no such store")
	}
	f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	t := &toy{Memory: bench.NewMemory(), how: how, file: f, w: bufio.NewWriterSize(f, 1<<16)}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e workload.Event
		if json.Unmarshal(lines.Bytes(), &e) == nil { // a torn line is none
			_ = t.Memory.Do(context.Background(), e)
		}
	}
	return t, lines.Err()
}

func (t *toy) Producer(int) (bench.Producer, error) { return &toyProducer{toy: t}, nil }

func (t *toy) Do(ctx context.Context, e workload.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	line, err := json.Marshal(e)
	if t.how == "doubles" && t.n == 50 {
		line = append(append(line, '\n'), line...)
	}
	if t.how == "drops" && t.n == 50 {
		line = nil
	}
	_, werr := t.w.Write(append(line, '\n'))
	return errors.Join(err, werr, t.Memory.Do(ctx, e))
}

func (t *toy) flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.how == "lies" {
		return nil // acknowledges what it holds in memory only
	}
	return t.w.Flush()
}

func (t *toy) Close(context.Context) error { return errors.Join(t.w.Flush(), t.file.Close()) }

// toyProducer counts as settled what it had sent at its last Flush.
type toyProducer struct {
	*toy
	sent, settled uint64
}

func (p *toyProducer) Send(ctx context.Context, e workload.Event) error {
	p.sent++
	return p.Do(ctx, e)
}

func (p *toyProducer) Push() error     { return nil }
func (p *toyProducer) Settled() uint64 { return p.settled }

func (p *toyProducer) Flush(context.Context) error {
	p.settled = p.sent
	return p.flush()
}

func (p *toyProducer) Close(context.Context) error { return nil }

func drillOf(t *testing.T, how string, kills int) (Report, []Round, error) {
	t.Helper()
	var rounds []Round
	const seed = 7
	t.Logf("seed %d", seed)
	r, err := Run(t.Context(), Options{
		Kills: kills, Seed: seed, Work: t.TempDir(), Store: store.Options{Dir: t.TempDir(), EventBytes: store.EventBytesMin},
		Keys: 50, Producers: 2, Window: 20, Rate: 20_000, Live: 50 * time.Millisecond,
		Command: func(ctx context.Context, orders string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, os.Args[0], orders)
			cmd.Env = append(os.Environ(), childVariable+"="+how)
			return cmd
		},
		Log: func(r Round) { rounds = append(rounds, r) },
	})
	return r, rounds, err
}

func TestHonestStorePassesTheDrill(t *testing.T) {
	r, rounds, err := drillOf(t, "honest", 6)
	if err != nil || !r.Last.OK() || r.Kills != 6 || r.Events == 0 || len(rounds) != 8 {
		t.Errorf("%+v, %v, %d rounds", r, err, len(rounds))
	}
}

// Goal: the drill finds what it is there for. Method: stores that each break the
// promise in one way.
func TestDrillFindsWhatAStoreDoesWrong(t *testing.T) {
	for how, want := range map[string]func(workload.Finding) bool{
		"lies":    func(f workload.Finding) bool { return f.Lost > 0 },
		"drops":   func(f workload.Finding) bool { return f.Wrong > 0 || f.Lost > 0 },
		"doubles": func(f workload.Finding) bool { return f.Wrong > 0 },
	} {
		r, _, err := drillOf(t, how, 20)
		if err != nil || r.Last.OK() || !want(r.Last) || r.Kills == 20 {
			t.Errorf("%s: %+v, %v", how, r, err)
		}
	}
}

func TestChildThatFailsIsAnErrorWithItsWords(t *testing.T) {
	if _, _, err := drillOf(t, "refuses", 1); err == nil || !strings.Contains(err.Error(), "no such store") {
		t.Error(err)
	}
}

func TestMarksAreReadAsFarAsTheyWereMade(t *testing.T) {
	name := filepath.Join(t.TempDir(), "marks")
	if m, err := ReadMarks(name, 2); m != nil || err != nil {
		t.Errorf("no file: %v, %v", m, err)
	}
	m, err := CreateMarks(name, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Set(1, 9, 5), m.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadMarks(name, 2); err != nil || len(got) != 2 || got[0] != (Mark{}) || got[1] != (Mark{9, 5}) {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.Truncate(name, 20); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadMarks(name, 2); got != nil || err != nil {
		t.Errorf("half a file: %v, %v", got, err)
	}
}

func TestChildEndsWithItsParent(t *testing.T) {
	o := &Orders{
		Round: 1, Work: t.TempDir(), Store: store.Options{Dir: t.TempDir(), EventBytes: store.EventBytesMin},
		Stream: workload.Generated{Keys: 9}, Producers: 1, Window: 10, Rate: 1000,
	}
	if err := o.write(); err != nil {
		t.Fatal(err)
	}
	parent, dies := io.Pipe()
	ended := make(chan error)
	open := func(_ context.Context, o store.Options) (bench.Target, error) { return openToy(o.Dir, "honest") }
	go func() { ended <- Child(t.Context(), o.file("orders"), parent, open) }()
	for {
		if n, err := o.through(); err != nil {
			t.Fatal(err)
		} else if n > 0 {
			break // it is under load, and its stream has no end
		}
		runtime.Gosched()
	}
	if err := errors.Join(dies.Close(), <-ended); err != nil {
		t.Error(err)
	}
}
