// Command limiter is a rate limiter behind HTTP. A client that lost its answer asks again
// under the same idempotency key, and gets the answer that it would have got: it is not
// counted twice, also when the limiter was killed in between.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/keyfold/keyfold/engine"
)

// perMinute is how many requests a user may make.
const perMinute = 60

// Usage is what is known of a user.
type Usage struct{ Minute, Used, Asked int64 }

// A Verdict is what a request is told.
type Verdict struct {
	Allowed bool
	Left    int64 // in this minute
	Number  int64 // of the requests of the user since he was last forgotten
}

// newLimits declares the table. Ids are remembered for an hour, 4096 in a partition. A user
// who is quiet for two minutes is forgotten: anybody can think of a new name, and states
// lie in memory.
func newLimits() *engine.Table[string, Usage, struct{}, Verdict] {
	return engine.NewTable(engine.Spec[string, Usage, struct{}, Verdict]{
		Name: "limits", Once: engine.Once{IDs: 4096, For: time.Hour}, TTL: engine.TTL{Idle: 2 * time.Minute},
		Apply: func(c *engine.Context[string], s *Usage, _ struct{}) Verdict {
			if minute := c.Now().Unix() / 60; minute != s.Minute {
				s.Minute, s.Used = minute, 0
			}
			s.Asked++
			allowed := s.Used < perMinute
			if allowed {
				s.Used++
			}
			return Verdict{Allowed: allowed, Left: perMinute - s.Used, Number: s.Asked}
		},
	})
}

// handler answers POST /USER with a verdict.
func handler(limits *engine.Table[string, Usage, struct{}, Verdict]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		if key == "" {
			http.Error(w, "an Idempotency-Key is needed", http.StatusBadRequest)
			return
		}
		// The context of r ends when the client goes away. What becomes of the event then is
		// unknown, and the client asks again.
		verdict, err := limits.DoOnce(r.Context(), engine.EventIDOf(key), r.URL.Path, struct{}{})
		if err != nil {
			http.Error(w, fmt.Sprintf("%v: %v", engine.OutcomeOf(err), err), http.StatusServiceUnavailable)
			return
		}
		if !verdict.Allowed {
			w.WriteHeader(http.StatusTooManyRequests)
		}
		_ = json.NewEncoder(w).Encode(verdict) // if it does not arrive, the client asks again
	})
}

// serve serves until the listener is closed.
func serve(dir string, l net.Listener) error {
	limits := newLimits()
	eng, err := engine.Open(context.Background(), dir, engine.Options{}, limits)
	if err != nil {
		return err
	}
	return errors.Join(http.Serve(l, handler(limits)), eng.Close())
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr())
	dir := "limiter.keyfold"
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	log.Fatal(serve(dir, l))
}
