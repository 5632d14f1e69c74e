package limit_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/keyfold/keyfold/bench/limit"
)

func TestOwnerFoldsEveryEventAndLogsIt(t *testing.T) {
	var log bytes.Buffer
	owner := limit.NewOwner(100, &log)
	const events = 1000
	var keys [events][limit.KeyBytes]byte
	payload := make([]byte, events*limit.EventBytes)
	for i := range keys {
		binary.LittleEndian.PutUint64(keys[i][:], uint64(i%100))
	}
	if err := owner.Apply(keys[:], payload); err != nil {
		t.Fatal(err)
	}
	if err := owner.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := owner.Count(); got != events {
		t.Errorf("the states have seen %d events, want %d", got, events)
	}
	if want := events*(limit.KeyBytes+limit.EventBytes) + 8; log.Len() != want {
		t.Errorf("the log has %d bytes, want %d", log.Len(), want)
	}
}
