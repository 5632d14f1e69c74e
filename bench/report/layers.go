package report

import (
	"fmt"
	"io"

	"github.com/keyfold/keyfold/bench/store"
)

// Layers is what the layers of a store did under a load.
type Layers struct {
	// Once is nil unless events had ids.
	Once *Once `json:"once,omitempty"`
	// Name is that of the producers or sources; "" if they had none.
	Name string `json:"name,omitempty"`
}

// Once is what became of events with ids, those of a warm-up included.
type Once struct {
	// Ids is how many ids a partition remembers.
	Ids int `json:"ids"`
	store.Again
	// Skipped is how many events the store did not do, because it had.
	Skipped uint64 `json:"skipped"`
}

// end writes the rows of the end table.
func (l *Layers) end(w io.Writer) {
	if l.Once != nil {
		row(w, "ids", "%s", l.Once.words())
	}
	if l.Name != "" {
		row(w, "name", "%s: the store has each go on where it has stopped", l.Name)
	}
}

func (o *Once) words() string {
	s := fmt.Sprintf("%s remembered in each partition", Count(o.Ids))
	if o.Resent == 0 {
		return s
	}
	s += fmt.Sprintf(" · %s sent again, %s without waiting for an answer; %s skipped", plural(o.Resent, "event"), Count(o.Unanswered), Count(o.Skipped))
	if o.Different > 0 {
		s += fmt.Sprintf("; %s ANSWERED OTHERWISE", Count(o.Different))
	}
	return s
}
