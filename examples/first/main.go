// Command first counts the clicks of users, and still knows them the next time.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/keyfold/keyfold/engine"
)

type Session struct{ Clicks, LastPage int64 }
type Click struct{ Page int64 }

func main() {
	ctx := context.Background()
	sessions := engine.NewTable(engine.Spec[string, Session, Click, int64]{
		Name: "sessions",
		Apply: func(c *engine.Context[string], s *Session, e Click) int64 {
			s.Clicks, s.LastPage = s.Clicks+1, e.Page
			return s.Clicks
		},
	})
	eng, err := engine.Open(ctx, "sessions.keyfold", engine.Options{}, sessions)
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	clicks, err := sessions.Do(ctx, "user-42", Click{Page: 7})
	fmt.Println(clicks, err) // 1 <nil> the first time, then 2, 3, ...: it is on the disk
}
