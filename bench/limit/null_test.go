package limit_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/keyfold/keyfold/bench/limit"
)

func TestNullAnswersEveryCallOnce(t *testing.T) {
	store := limit.NewNull()
	const callers, each = 50, 200
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			c := limit.NewNullCaller()
			for range each {
				if err := store.Do(t.Context(), c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if n := store.Close(); n != callers*each {
		t.Errorf("answered %d calls, want %d", n, callers*each)
	}
}

func TestNullGivesUpWithItsContext(t *testing.T) {
	store := limit.NewNull()
	defer store.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // a call that is answered all the same is one too
		if err := store.Do(ctx, limit.NewNullCaller()); errors.Is(err, context.Canceled) {
			return
		}
	}
	t.Error("100 calls under a cancelled context were answered")
}

func TestAppenderAppendsWholeBlocks(t *testing.T) {
	dir := t.TempDir()
	a, err := limit.NewAppender(dir, 100)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := a.Append(); err != nil {
			t.Fatal(err)
		}
	}
	if bytes, err := a.Close(); err != nil || bytes != 300 {
		t.Errorf("%d bytes, %v", bytes, err)
	}
	if _, err := limit.NewAppender(dir, 100); err == nil {
		t.Error("a file that is there was taken")
	}
}
