package enginetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyfold/keyfold/engine"
)

// CheckLog folds the log of an existing store with tables, each event twice, and compares:
// the two folds with each other, and what they make of one snapshot with the next one. So
// it finds an Apply that is not deterministic, and one that does something else than the one
// that wrote the store, with real events. dir must not be open; it is copied, and not
// changed. See [engine.ReplayCheck], which it calls, for what a store must still have: a log
// without events, which a closed store has if no [engine.Options.KeepLog] kept them, fails
// the test, because it shows nothing.
func CheckLog(t *testing.T, dir string, tables ...engine.Definition) {
	t.Helper()
	notes, err := checkLog(dir, t.TempDir(), tables)
	for _, note := range notes {
		t.Log(note)
	}
	if err != nil {
		t.Errorf("store %s: %v", dir, err)
	}
}

func checkLog(dir, temporary string, tables []engine.Definition) (notes []string, err error) {
	store := filepath.Join(temporary, "store")
	if err := os.CopyFS(store, os.DirFS(dir)); err != nil {
		return nil, err
	}
	if err := os.Chmod(store, 0o700); err != nil {
		return nil, err
	}
	report, err := engine.ReplayCheck(context.Background(), store, engine.Options{}, tables...)
	switch {
	case err != nil:
		return nil, err
	case report.Different > 0:
		return report.Notes, fmt.Errorf("the log does not make the same states again: %w", report.First)
	case report.Events == 0:
		return report.Notes, errors.New("its log has no events to fold; keep some, by Options.KeepLog")
	}
	return report.Notes, nil
}
