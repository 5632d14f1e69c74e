package drill

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
)

// foundKeyMax bounds the keys in a file of found states.
const foundKeyMax = 1 << 10

// writeFound writes down all states of a store: for each the length of its key in
// two bytes, the key and the state.
func writeFound(ctx context.Context, t bench.Target, name string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	var b []byte
	err = t.All(ctx, func(key []byte, s *workload.Stats) error {
		if len(key) > foundKeyMax {
			return fmt.Errorf("drill: a key of %d bytes was never sent", len(key))
		}
		b = append(b[:0], byte(len(key)), byte(len(key)>>8))
		b = s.Append(append(b, key...))
		_, err := w.Write(b)
		return err
	})
	return errors.Join(err, w.Flush())
}

// readFound calls fn with each state in the file.
func readFound(name string, fn func(key []byte, s *workload.Stats)) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	b := make([]byte, 2, foundKeyMax+workload.StatsBytes)
	for {
		if _, err := io.ReadFull(r, b[:2]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("drill: found states: %w", err)
		}
		n := int(b[0]) | int(b[1])<<8
		if n > foundKeyMax {
			return fmt.Errorf("drill: found states: a key of %d bytes", n)
		}
		if _, err := io.ReadFull(r, b[:n+workload.StatsBytes]); err != nil {
			return fmt.Errorf("drill: found states: %w", err)
		}
		var s workload.Stats
		if err := s.Decode(b[n : n+workload.StatsBytes]); err != nil {
			return err
		}
		fn(b[:n], &s)
	}
}

// writeReady says that the states are written down, and what the recovery took. It
// is there whole or not at all.
func writeReady(name string, r bench.Recovery) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	if err := os.WriteFile(name+".part", text, 0o600); err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	if err := os.Rename(name+".part", name); err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	return nil
}

// readReady reads what writeReady wrote; false if it has not.
func readReady(name string) (r bench.Recovery, ok bool, err error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return r, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, false, fmt.Errorf("drill: %w", err)
	}
	return r, true, nil
}
